import type { Adapted, Adapter, Allocator, Backend, Batch, Buf } from './backend.ts';
import { PAGE } from './layout.ts';
import type { Windows } from './windows.ts';

/** Tokens of a sequence that ride in a step: ids[start .. start + count), drafted ones behind its own; the last `logits` of them want logits. */
export interface BatchSlice {
  readonly seq: {
    readonly ids: ArrayLike<number>;
    readonly pages: readonly number[];
    /** Where layers that slide have these pages, for who does not know by the pages. */
    readonly places?: readonly number[];
    readonly adapter?: Adapter;
  };
  readonly start: number;
  readonly count: number;
  readonly logits: number;
  readonly draft: readonly number[];
}

/** A ragged batch's buffers on the backend, with staging arrays on this side, allocated once. */
export class BatchBuffers implements Batch {
  T = 0;
  S = 0;
  R = 0;
  adapted: Adapted[] = [];
  readonly ids;
  readonly pos;
  readonly slot;
  readonly seqOf;
  readonly blocks;
  readonly maxBlocks: number;
  readonly rows;
  private readonly staged: {
    ids: Uint32Array;
    pos: Uint32Array;
    slot: Uint32Array;
    seqOf: Uint32Array;
    blocks: Uint32Array;
    rows: Uint32Array;
  };
  /** The batch that was filled last as layers that slide see it. */
  slid?: Batch;
  private readonly ofWindows?: { slot: Buf; blocks: Buf; staged: { slot: Uint32Array; blocks: Uint32Array } };

  constructor(be: Allocator, size: { T: number; S: number; R: number; maxBlocks: number; windows?: boolean }) {
    const { T, S, R, maxBlocks } = size;
    this.maxBlocks = maxBlocks;
    this.ids = be.alloc(T * 4, 'ids');
    this.pos = be.alloc(T * 4, 'pos');
    this.slot = be.alloc(T * 4, 'slot');
    this.seqOf = be.alloc(T * 4, 'seqOf');
    this.blocks = be.alloc(S * maxBlocks * 4, 'blocks');
    this.rows = be.alloc(R * 4, 'rows');
    this.staged = {
      ids: new Uint32Array(T),
      pos: new Uint32Array(T),
      slot: new Uint32Array(T),
      seqOf: new Uint32Array(T),
      blocks: new Uint32Array(S * maxBlocks),
      rows: new Uint32Array(R),
    };
    if (!size.windows) return;
    this.ofWindows = {
      slot: be.alloc(T * 4, 'slot of windows'),
      blocks: be.alloc(S * maxBlocks * 4, 'blocks of windows'),
      staged: { slot: new Uint32Array(T), blocks: new Uint32Array(S * maxBlocks) },
    };
  }

  /**
   * Lays the slices out, those with the same adapter one after the other, those without one first: token t of slice s at its position, in its
   * page; the last `logits` of each want logits, whose rows are in the slices' own order.
   */
  fill(be: Backend, slices: readonly BatchSlice[], windows?: Windows): void {
    const m = this.staged;
    const w = this.ofWindows?.staged;
    let t = 0;
    let r = 0;
    this.adapted = [];
    const firstRow = slices.map(({ logits }) => (r += logits) - logits);
    for (const s of byAdapter(slices)) {
      const { seq, start, count, logits, draft } = slices[s];
      const own = seq.ids.length;
      const from = t;
      // a page that a window has left is looked at by nobody
      const places = w && (seq.places ?? seq.pages.map((p) => Math.max(0, windows?.of(p) ?? 0)));
      for (let i = 0; i < count; i++, t++) {
        const pos = start + i;
        m.ids[t] = pos < own ? seq.ids[pos] : draft[pos - own];
        m.pos[t] = pos;
        m.slot[t] = seq.pages[Math.floor(pos / PAGE)] * PAGE + (pos % PAGE);
        if (w && places) w.slot[t] = places[Math.floor(pos / PAGE)] * PAGE + (pos % PAGE);
        m.seqOf[t] = s;
        if (i >= count - logits) m.rows[firstRow[s] + i - (count - logits)] = t;
      }
      m.blocks.set(seq.pages, s * this.maxBlocks);
      if (w && places) w.blocks.set(places, s * this.maxBlocks);
      const { adapter } = seq;
      const last = this.adapted.at(-1);
      if (adapter && last?.adapter === adapter) this.adapted.splice(-1, 1, { ...last, to: t });
      else if (adapter) this.adapted.push({ from, to: t, adapter });
    }
    this.T = t;
    this.S = slices.length;
    this.R = r;
    be.write(this.ids, bytes(m.ids, t));
    be.write(this.pos, bytes(m.pos, t));
    be.write(this.slot, bytes(m.slot, t));
    be.write(this.seqOf, bytes(m.seqOf, t));
    be.write(this.blocks, bytes(m.blocks, slices.length * this.maxBlocks));
    if (r > 0) be.write(this.rows, bytes(m.rows, r));
    const { ofWindows } = this;
    if (!ofWindows) return;
    be.write(ofWindows.slot, bytes(ofWindows.staged.slot, t));
    be.write(ofWindows.blocks, bytes(ofWindows.staged.blocks, slices.length * this.maxBlocks));
    this.slid = { ...this, slid: undefined, slot: ofWindows.slot, blocks: ofWindows.blocks };
  }
}

/** The slices' numbers: without an adapter, then adapter by adapter, each in the order in which they came. */
export function byAdapter(slices: readonly Pick<BatchSlice, 'seq'>[]): number[] {
  const groups = new Map<Adapter | undefined, number[]>([[undefined, []]]);
  for (const [s, { seq }] of slices.entries()) {
    const group = groups.get(seq.adapter);
    if (group) group.push(s);
    else groups.set(seq.adapter, [s]);
  }
  return [...groups.values()].flat();
}

const bytes = (a: Uint32Array, n: number): Uint8Array => new Uint8Array(a.buffer, 0, n * 4);
