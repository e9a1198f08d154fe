import { PAGE } from './layout.ts';
import type { PageNames, PagePool } from './pages.ts';
import type { Sequence } from './sequence.ts';

/** Offers the pages of sequences to others, under their names. */
export class Publisher {
  private readonly pool: PagePool;
  private readonly names: PageNames;

  constructor(pool: PagePool, names: PageNames) {
    this.pool = pool;
    this.names = names;
  }

  /** Offers the pages that have become whole. */
  whole(seq: Sequence): void {
    for (; (seq.published + 1) * PAGE <= seq.computed; seq.published++) {
      const i = seq.published;
      if (i >= seq.names.length) seq.names.push(this.names.next(this.parentOf(seq, i), seq.ids, i * PAGE));
      this.pool.publish(seq.pages[i], seq.names[i], { parent: this.parentOf(seq, i), ids: seq.ids.slice(i * PAGE, (i + 1) * PAGE) });
    }
  }

  /** Offers the last page of a sequence that ends: others may begin theirs with a copy of it. */
  rest(seq: Sequence): void {
    const whole = seq.published;
    const ids = seq.ids.slice(whole * PAGE, seq.computed);
    if (ids.length > 0 && ids.length < PAGE) this.pool.keep(seq.pages[whole], { parent: this.parentOf(seq, whole), ids });
  }

  /** Name of the page before page i. */
  private parentOf(seq: Sequence, i: number): string {
    return i === 0 ? this.names.root(seq.salt) : seq.names[i - 1];
  }
}
