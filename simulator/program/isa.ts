/**
 * What a tile can be told. Each tile has four in-order queues (load, store, tensor, vector) that run beside each other
 * and meet only at semaphores: an instruction starts when each of its `waits` has been reached and adds one to each of
 * its `signals` when it is done. A semaphore counts up from 0 and is signalled by one queue alone.
 */

import type { WeightFormat } from '../../engine/backend.ts';
import { BLOCK, FORMATS, ROWS, weightBytes } from '../../engine/formats.ts';

export type Queue = 'load' | 'store' | 'tensor' | 'vector';
export const QUEUES: readonly Queue[] = ['load', 'store', 'tensor', 'vector'];

/** A piece of the tile's SRAM: `rows` runs of `len` bytes, `pitch` apart. */
export interface SramRange {
  at: number;
  rows: number;
  pitch: number;
  len: number;
}

/**
 * Strided bytes of HBM: `outer` × `rows` runs of `len` bytes; run (o, r) starts at starts[o] + r · pitch.
 * `buf` is a binding of the program (an argument), so that one program serves every layer.
 */
export interface HbmRange {
  buf: string;
  starts: readonly number[];
  rows: number;
  pitch: number;
  len: number;
}

interface Base {
  queue: Queue;
  /** Pairs: semaphore, value it must have reached. */
  waits: number[];
  signals: number[];
}

/** HBM → SRAM of every tile in `tiles` (multicast), or SRAM → HBM. In SRAM, run (o, r) is at `at` + (o · rows + r) · pitch. */
export interface Dma extends Base {
  kind: 'dma';
  queue: 'load' | 'store';
  hbm: HbmRange;
  at: number;
  pitch: number;
  tiles: readonly number[];
}

/** acc f32 [M, N] += a [M, K] · w [N, K]ᵀ, K ascending, continuing what `acc` holds (0 with `first`). */
export interface Mm extends Base {
  kind: 'mm';
  queue: 'tensor';
  format: MmFormat;
  M: number;
  N: number;
  K: number;
  a: number; // rows of `lda` bytes
  lda: number;
  w: number; // kernel layout [N, K] (engine/formats.ts)
  acc: number; // rows of `ldc` bytes
  ldc: number;
  first: boolean;
}

/** Formats that have no function here: they are timed only, by the bytes of a value. */
const TIMED = { bf16: 2, fp8: 1, fp4: 0.5, int8: 1 } as const;
export type TimedFormat = keyof typeof TIMED;
export type MmFormat = WeightFormat | TimedFormat;
export const timedBytes = (f: TimedFormat): number => TIMED[f];
export const isTimed = <F extends MmFormat>(f: F): f is F & TimedFormat => Object.hasOwn(TIMED, f);

/** Pages of keys and values against a block of queries; `p` is read by vector/attention.ts. Runs on the tensor unit and drains into the vector unit. */
export interface Attend extends Base {
  kind: 'attend';
  queue: 'tensor';
  p: Readonly<Record<string, number>>;
  timed: { macs: [M: number, N: number, K: number][]; elems: number; ops: number };
  reads: SramRange[];
  writes: SramRange[];
}

/** A function of the vector unit (vector/index.ts) with its parameters. */
export interface Vec extends Base {
  kind: 'vec';
  queue: 'vector';
  fn: string;
  p: Readonly<Record<string, number>>;
  /** Elements and operations an element: what the lanes have to do. */
  elems: number;
  ops: number;
  reads: SramRange[];
  writes: SramRange[];
}

export type Instr = Dma | Mm | Attend | Vec;

/** What one chip runs for one op: instructions of each tile in program order. All tiles share one SRAM layout. */
export interface Program {
  name: string;
  tiles: Instr[][];
  semaphores: number;
  /** Highest SRAM address used, plus one. */
  sramBytes: number;
  /** The allocations, for reading. */
  sram: { label: string; at: number; bytes: number }[];
  /** Useful operations (2 · M · N · K and the like) for the roofline. */
  flops: number;
}

export const bytesOf = (h: HbmRange): number => h.starts.length * h.rows * h.len;

const run = (at: number, len: number): SramRange => ({ at, rows: 1, pitch: len, len });
export const sramRun = run;

/** SRAM an instruction reads on the tile that issues it. */
export function sramReads(i: Instr): SramRange[] {
  if (i.kind === 'dma') return i.queue === 'store' ? [dmaSram(i)] : [];
  if (i.kind !== 'mm') return i.reads;
  const list = [{ at: i.a, rows: i.M, pitch: i.lda, len: actBytes(i.format, i.K) }, run(i.w, mmWeightBytes(i.format, i.N, i.K))];
  if (!i.first) list.push(accRange(i));
  return list;
}

/** SRAM it writes (a load writes it on each of its tiles). */
export function sramWrites(i: Instr): SramRange[] {
  if (i.kind === 'dma') return i.queue === 'load' ? [dmaSram(i)] : [];
  return i.kind === 'mm' ? [accRange(i)] : i.writes;
}

const accRange = (i: Mm): SramRange => ({ at: i.acc, rows: i.M, pitch: i.ldc, len: i.N * 4 });
const dmaSram = (i: Dma): SramRange => ({ at: i.at, rows: i.hbm.starts.length * i.hbm.rows, pitch: i.pitch, len: i.hbm.len });

/** Formats whose activations are i8 with a scale a block of 32. */
export const isQuant = (f: MmFormat): boolean => !isTimed(f) && FORMATS[f].act === 'i8';

/** Columns that stay together when K is cut: a format's block. */
export const columnUnit = (f: MmFormat): number => (isTimed(f) ? 1 : FORMATS[f].block);

/** Bytes of a block of 32 i8 activations: the values, their f32 scale, and 4 that the wasm kernels use (two i16 corrections). */
export const ACT_BLOCK = 40;

/** Bytes of K activations of a row, quantized or f32. */
export const rowBytes = (quant: boolean, K: number): number => (quant ? (K / BLOCK) * ACT_BLOCK : K * 4);

/** Bytes of K activations of a row. */
export function actBytes(f: MmFormat, K: number): number {
  if (isTimed(f)) return K * Math.max(1, timedBytes(f));
  return rowBytes(isQuant(f), K);
}

/** Bytes of a weight matrix [N, K] as a tile holds it. */
export function mmWeightBytes(f: MmFormat, N: number, K: number): number {
  if (K === 0) return 0;
  return isTimed(f) ? Math.ceil(N / ROWS) * ROWS * K * timedBytes(f) : weightBytes(f, N, K);
}
