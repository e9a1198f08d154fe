import type { KvShape } from './backend.ts';
import type { ModelConfig } from './config.ts';
import { convTokenBytes, kvHeadBytes, PAGE } from './layout.ts';

/** Pages that the window of a token shows before the one that it begins. */
const pagesSeen = (window: number): number => Math.ceil((window - 1) / PAGE);

/**
 * Pages of which layers that slide keep their part, where `pages` pages are for contexts of a length and steps of a size: so many that each
 * context has all of its window. Undefined: all pages have all parts, since no layer slides or windows are as long as contexts.
 */
export function windowPages(c: ModelConfig, o: { context: number; maxTokens: number }, pages: number): number | undefined {
  if (c.window === undefined || !c.layerKinds?.includes('sliding')) return undefined;
  const each = pagesSeen(c.window) + Math.ceil(o.maxTokens / PAGE) + 2; // of one sequence at once
  const all = Math.ceil(o.context / PAGE);
  if (each >= all) return undefined;
  return Math.min(pages, Math.max(each, Math.ceil((pages * each) / all)));
}

/**
 * The parts of pages that layers with a window have: fewer places than pages, for those that a sequence still sees. A page that no window shows
 * any more keeps its part until its place is needed, so that another sequence may go on from it; the least recently seen goes first.
 */
export class Windows {
  readonly size: number;
  /** Positions that a layer sees. */
  readonly window: number;
  /** Pages before a boundary whose parts whoever goes on from there needs. */
  readonly reach: number;
  private readonly places: Int32Array; // by page; −1: its part is gone
  private readonly seen: Int32Array; // by page: sequences that see it
  private readonly free: number[] = [];
  private readonly idle = new Map<number, true>(); // pages whose part nobody sees, the least recently seen first

  constructor(pages: number, size: number, window: number) {
    this.size = size;
    this.window = window;
    this.reach = pagesSeen(window);
    this.places = new Int32Array(pages).fill(-1);
    this.seen = new Int32Array(pages);
    for (let i = size - 1; i >= 0; i--) this.free.push(i);
  }

  /** Places that `give` can still find. */
  get available(): number {
    return this.free.length + this.idle.size;
  }

  /** Place of a page's part, or −1. */
  of(page: number): number {
    return this.places[page];
  }

  has(page: number): boolean {
    return this.places[page] >= 0;
  }

  /** Whether a page's part is here, and nobody sees it. */
  isIdle(page: number): boolean {
    return this.idle.has(page);
  }

  /** First page that a sequence still sees when its next token is at `position`. */
  first(position: number): number {
    return Math.max(0, Math.floor((position - this.window + 1) / PAGE));
  }

  /** Gives a page that has none a place, seen by one sequence; false when all are seen. */
  give(page: number): boolean {
    let place = this.free.pop();
    if (place === undefined) {
      const oldest = this.idle.keys().next().value;
      if (oldest === undefined) return false;
      place = this.places[oldest];
      this.idle.delete(oldest);
      this.places[oldest] = -1;
    }
    this.places[page] = place;
    this.seen[page] = 1;
    return true;
  }

  /** One more sequence sees a page; false when its part is gone. */
  see(page: number): boolean {
    if (!this.has(page)) return false;
    if (this.seen[page]++ === 0) this.idle.delete(page);
    return true;
  }

  /** One sequence sees it no more. What has no name is of no use to others. */
  leave(page: number, named: boolean): void {
    if (this.seen[page] <= 0) throw new Error(`the window left page ${page} more often than it showed it`);
    if (--this.seen[page] > 0) return;
    if (named) this.idle.set(page, true);
    else this.drop(page);
  }

  /** Frees the place of a page that nobody sees. */
  drop(page: number): void {
    if (this.seen[page] > 0 || !this.has(page)) return;
    this.idle.delete(page);
    this.free.push(this.places[page]);
    this.places[page] = -1;
  }
}

/** Copies between a page and its two parts: `slides` says of each layer that attends which part has it; layers that convolve are in the first. */
function* ranges(shape: KvShape, slides: readonly boolean[]): Generator<{ slid: boolean; page: number; part: number; bytes: number }> {
  const layer = shape.kvHeads * kvHeadBytes(shape);
  const at = [0, 0];
  for (const [i, slid] of slides.entries()) {
    yield { slid, page: i * layer, part: at[Number(slid)], bytes: layer };
    at[Number(slid)] += layer;
  }
  const { layers, width } = shape.convs ?? { layers: 0, width: 0 };
  const convs = layers * PAGE * convTokenBytes(shape, width);
  if (convs > 0) yield { slid: false, page: slides.length * layer, part: at[0], bytes: convs };
}

/** A page in the layout of engine/layout.ts, from its two parts. */
export function joinParts(shape: KvShape, slides: readonly boolean[], kept: Uint8Array, slid: Uint8Array): Uint8Array {
  const out = new Uint8Array(kept.byteLength + slid.byteLength);
  for (const r of ranges(shape, slides)) out.set((r.slid ? slid : kept).subarray(r.part, r.part + r.bytes), r.page);
  return out;
}

/** The two parts of a page. */
export function splitParts(
  shape: KvShape,
  slides: readonly boolean[],
  page: Uint8Array,
  keptBytes: number,
): { kept: Uint8Array; slid: Uint8Array } {
  const kept = new Uint8Array(keptBytes);
  const slid = new Uint8Array(page.byteLength - keptBytes);
  for (const r of ranges(shape, slides)) (r.slid ? slid : kept).set(page.subarray(r.page, r.page + r.bytes), r.part);
  return { kept, slid };
}
