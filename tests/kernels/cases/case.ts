/** What a case is: an op on seeded data, on any backend. The same cases are compared and timed. No platform here. */
import type { Act, Backend, Batch, Buf, Weight, WeightFormat } from '../../../engine/backend.ts';
import { packWeight, type WeightSource } from '../../../engine/formats.ts';
import { normals, planes, w4, w8 } from './data.ts';

/** One output: its bytes for backends that keep exact-1, its meaning for those that have a tolerance. */
export interface Output {
  name: string;
  bytes: Uint8Array;
  values: Float32Array;
}

export interface Prepared {
  /** Records the op once. Running it again gives the same outputs, unless the case says `once`. */
  run(): void;
  read(): Promise<Output[]>;
}

export interface Case {
  op: string;
  name: string;
  /** For backends that are not exact-1: largest error allowed, relative to the largest value of the output. */
  tolerance: number;
  /** Bytes a backend with a fixed memory needs for it, at most. */
  memoryBytes: number;
  /** Its parts are in other cases, in other pairs: left out where every pair is a kernel to compile. */
  pair?: true;
  /** Multiply-adds and bytes of weights or pages a run touches, for rates. */
  macs?: number;
  bytes?: number;
  prepare(b: Backend): Prepared;
}

const bytesOf = (a: Float32Array | Uint32Array | Uint8Array): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

export function upload(b: Backend, data: Float32Array | Uint32Array | Uint8Array, label: string): Buf {
  const buf = b.alloc(data.byteLength, label);
  b.write(buf, bytesOf(data));
  return buf;
}

export function uploadWeight<F extends WeightFormat>(
  b: Backend,
  format: F,
  N: number,
  K: number,
  source: WeightSource[F],
  label: string,
): Weight {
  return { format, N, K, data: upload(b, packWeight(format, N, K, source), label) };
}

/** `real`: with scales as files have them, for the clock; the others are harder. */
export function randomWeight(b: Backend, format: WeightFormat, N: number, K: number, seed: number, real = false): Weight {
  if (format === 'f32') return uploadWeight(b, 'f32', N, K, normals(N * K, seed, 0.1), 'weight');
  if (format === 'w8') return uploadWeight(b, 'w8', N, K, w8(N, K, seed, real), 'weight');
  if (format === 'w4') return uploadWeight(b, 'w4', N, K, w4(N, K, seed, real), 'weight');
  return uploadWeight(b, format, N, K, planes(format, N, K, seed, real), 'weight');
}

export async function readF32(b: Backend, name: string, buf: Buf, offset: number, count: number): Promise<Output> {
  const bytes = await b.read(buf, offset * 4, count * 4);
  return { name, bytes, values: new Float32Array(bytes.slice().buffer) };
}

/** i8 activations [T, K] from f32 values, through norm with a unit gain: a backend's own layout is closed. */
export function quantizedAct(b: Backend, x: Float32Array, T: number, K: number): Act {
  const act = b.act('i8', T, K, 'activations');
  const gain = upload(b, new Float32Array(K).fill(1), 'unit gain');
  b.norm(act, upload(b, x, 'x'), gain, 1e-5, T, K);
  return act;
}

export function f32Act(b: Backend, x: Float32Array, T: number, K: number): Act {
  const act = b.act('f32', T, K, 'activations');
  b.write(act.data, bytesOf(x));
  return act;
}

/** Columns that are read one by one: the first and last blocks and some between. */
function sampledColumns(K: number): number[] {
  return Array.from({ length: K }, (_, k) => k).filter((k) => k < 40 || k >= K - 40 || k % 61 === 7);
}

/**
 * Makes activations visible: some columns through rows of a unit matrix, and all of them together through a few random
 * rows. Returns what to record after the op and what to read then.
 */
export function actReader(b: Backend, act: Act, T: number): Prepared {
  const { K } = act;
  const columns = sampledColumns(K);
  const n = columns.length;
  let unit: Weight;
  if (act.format === 'f32') {
    const values = new Float32Array(n * K);
    columns.forEach((k, i) => {
      values[i * K + k] = 1;
    });
    unit = uploadWeight(b, 'f32', n, K, values, 'unit');
  } else {
    const q = new Int8Array(n * K);
    columns.forEach((k, i) => {
      q[i * K + k] = 1;
    });
    unit = uploadWeight(b, 'w8', n, K, { q, d: new Uint16Array((n * K) / 32).fill(0x3c00) }, 'unit');
  }
  const mixed = randomWeight(b, act.format === 'f32' ? 'f32' : 'w4', 8, K, 77);
  const seen = b.alloc(T * n * 4, 'columns');
  const sums = b.alloc(T * 8 * 4, 'sums');
  return {
    run() {
      b.matmul(seen, act, unit, T);
      b.matmul(sums, act, mixed, T);
    },
    read: async () => [await readF32(b, 'columns', seen, 0, T * n), await readF32(b, 'sums', sums, 0, T * 8)],
  };
}

/** A batch of tokens of several sequences; pages of a sequence are scattered over the pool. */
export function makeBatch(
  b: Backend,
  tokens: readonly (readonly [seq: number, pos: number])[],
  tables: readonly (readonly number[])[],
): Batch {
  const maxBlocks = Math.max(...tables.map((t) => t.length));
  const blocks = new Uint32Array(tables.length * maxBlocks);
  tables.forEach((t, s) => {
    blocks.set(t, s * maxBlocks);
  });
  const u32 = (values: number[], label: string) => upload(b, Uint32Array.from(values), label);
  return {
    T: tokens.length,
    S: tables.length,
    R: 0,
    ids: b.alloc(4, 'ids'),
    rows: b.alloc(4, 'rows'),
    maxBlocks,
    blocks: upload(b, blocks, 'blocks'),
    pos: u32(
      tokens.map(([, p]) => p),
      'pos',
    ),
    seqOf: u32(
      tokens.map(([s]) => s),
      'seqOf',
    ),
    slot: u32(
      tokens.map(([s, p]) => tables[s][p >> 4] * 16 + (p & 15)),
      'slot',
    ),
  };
}

/** Block tables for sequences of the given lengths, page numbers shuffled deterministically. */
export function scatter(lengths: readonly number[], pages: number): number[][] {
  let next = 0;
  const step = [7, 5, 3, 2, 1].find((s) => pages % s !== 0) ?? 1;
  return lengths.map((n) => Array.from({ length: Math.ceil(n / 16) }, () => (next++ * step + 1) % pages));
}
