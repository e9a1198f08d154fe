import type { Dma, HbmRange, SramRange, Vec } from '../program/isa.ts';

/** What the compiler may do; every entry can be switched off to see what it brings. */
export interface Options {
  /** Two pieces of each buffer, so that DMA and compute overlap. */
  readonly doubleBuffer: boolean;
  /** One read from HBM for all tiles that need the bytes. */
  readonly multicast: boolean;
  /** RMSNorm inside the matmul that reads it. */
  readonly fuseNorm: boolean;
  /** SwiGLU inside the matmul that writes its input. */
  readonly fuseSwiglu: boolean;
}

export const defaults: Options = { doubleBuffer: true, multicast: true, fuseNorm: true, fuseSwiglu: true };

export function load(tiles: readonly number[], hbm: HbmRange, at: number, pitch = hbm.len): Dma {
  return { kind: 'dma', queue: 'load', hbm, at, pitch, tiles, waits: [], signals: [] };
}

export function store(tile: number, hbm: HbmRange, at: number, pitch = hbm.len): Dma {
  return { kind: 'dma', queue: 'store', hbm, at, pitch, tiles: [tile], waits: [], signals: [] };
}

export function vec(fn: string, p: Record<string, number>, elems: number, ops: number, reads: SramRange[], writes: SramRange[]): Vec {
  return { kind: 'vec', queue: 'vector', fn, p, elems, ops, reads, writes, waits: [], signals: [] };
}

/** `rows` runs of `len` bytes from `start` on, `pitch` apart. */
export const block = (buf: string, start: number, rows: number, pitch: number, len: number): HbmRange => ({
  buf,
  starts: [start],
  rows,
  pitch,
  len,
});
/** Contiguous bytes. */
export const span = (buf: string, start: number, len: number): HbmRange => block(buf, start, 1, len, len);
/** Runs of `len` bytes at the given places. */
export const gather = (buf: string, starts: number[], len: number): HbmRange => ({ buf, starts, rows: 1, pitch: len, len });

export const range = (at: number, rows: number, pitch: number, len: number): SramRange => ({ at, rows, pitch, len });
export const bytes = (at: number, len: number): SramRange => range(at, 1, len, len);

/** Where part i of `parts` nearly equal parts of `total` starts. */
export const cut = (total: number, parts: number, i: number): number => Math.floor((total * i) / parts);

export const DIV = (a: number, b: number): number => Math.ceil(a / b);
