/** The server's kernels as functions of arrays, for PyTorch's custom ops: exact-1, to the bit. `backend` says which: wasm unless given. */
import type { Act, Allocator, Backend, Batch, Buf, KvFormat, Weight } from '../../engine/backend.ts';
import { BLOCK, FORMATS, weightBytes } from '../../engine/formats.ts';
import { PAGE, pageBytes } from '../../engine/layout.ts';
import { storeAct } from '../../kernels/reference/buffers.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { quantize } from '../../kernels/reference/numeric.ts';
import { countWasm } from '../../kernels/wasm/index.ts';
import { ACT_BLOCK } from '../../kernels/wasm/memory.ts';
import { type Format, formatOf, packedPieces } from '../../models/quantize/convert.ts';
import type { ModelTensor } from '../../models/tensors.ts';
import type { Call } from './call.ts';
import type { Arr } from './frames.ts';
import { nodeWasm } from './wasm.ts';

/** A backend that ops can run on: opened with this much memory, and given f32 rows [T, K] as activations in its own layout. */
interface Kernels {
  open(memoryBytes: number): Promise<Backend>;
  activate(be: Backend, x: Act, values: Float32Array, T: number): void;
}

/** What the server runs, and the specification of its bits, in plain JavaScript. */
const BACKENDS: Record<string, Kernels> = {
  wasm: {
    open: nodeWasm,
    activate: (be, x, values, T) => be.write(x.data, x.format === 'i8' ? activations(values, T, x.K) : raw(values)),
  },
  reference: {
    open: async () => createReference(),
    activate(_be, x, values, T) {
      for (let t = 0; t < T; t++) storeAct(x, t, values.subarray(t * x.K, (t + 1) * x.K));
    },
  },
};

function kernelsOf(backend: unknown): Kernels {
  const name = String(backend ?? 'wasm');
  if (Object.hasOwn(BACKENDS, name)) return BACKENDS[name];
  throw new Error(`backend is ${JSON.stringify(name)}, must be one of ${Object.keys(BACKENDS).join(', ')}`);
}

/** Buffers of one shape of linear layer, with a memory of their own; `holds` names the weight that lies there. */
interface Linear {
  be: Backend;
  w: Weight;
  x: Act;
  y: Buf;
  bias: Buf;
  rows: number;
  holds?: string;
}

/** Shapes kept at a time; the one used least recently goes. */
const SHAPES = 64;
const linears = new Map<string, Linear>();

async function linearOf(backend: unknown, format: Weight['format'], N: number, K: number, T: number): Promise<Linear> {
  const rows = Math.max(64, 2 ** Math.ceil(Math.log2(T)));
  const key = `${backend} ${format} ${N} ${K} ${rows}`;
  const known = linears.get(key);
  linears.delete(key);
  if (linears.size >= SHAPES) linears.delete(linears.keys().next().value as string);
  const made = known ?? (await makeLinear(kernelsOf(backend), format, N, K, rows));
  linears.set(key, made);
  return made;
}

async function makeLinear(on: Kernels, format: Weight['format'], N: number, K: number, rows: number): Promise<Linear> {
  const alloc = (be: Allocator) => ({
    w: { format, N, K, data: be.alloc(weightBytes(format, N, K), 'weight') },
    x: be.act(FORMATS[format].act, rows, K, 'x'),
    y: be.alloc(rows * N * 4, 'y'),
    bias: be.alloc(N * 4, 'bias'),
  });
  const count = countWasm();
  alloc(count);
  const be = await on.open(count.used);
  return { be, rows, ...alloc(be) };
}

/** A matrix as PyTorch or a file has it. */
function tensor(type: string, N: number, K: number, data: Arr): ModelTensor {
  const stored = bytes(data);
  const row = stored.length / N;
  if (!Number.isInteger(row)) throw new Error(`${type}: ${stored.length} bytes are not ${N} rows`);
  const read = async (from: number, to: number) => stored.slice(from * row, to * row);
  return { name: 'weight', kind: 'down', layer: 0, vector: false, N, K, parts: [{ name: 'weight', type, rows: N, K, read }] };
}

/** Rows of f32 as i8 activations: blocks of 32 values, their scale, and −8 times the sums that w4 products start from (wasm/src/act.ts). */
function activations(x: Float32Array, T: number, K: number): Uint8Array {
  const out = new Uint8Array((T * K * ACT_BLOCK) / BLOCK);
  const view = new DataView(out.buffer);
  for (let from = 0, at = 0; from < T * K; from += BLOCK, at += ACT_BLOCK) {
    const q = new Int8Array(out.buffer, at, BLOCK);
    view.setFloat32(at + 32, quantize(q, x.subarray(from, from + BLOCK), 127), true);
    let low = 0;
    let high = 0;
    for (let k = 0; k < BLOCK; k += 4) {
      low += q[k] + q[k + 1];
      high += q[k + 2] + q[k + 3];
    }
    view.setInt16(at + 36, -8 * low, true);
    view.setInt16(at + 38, -8 * high, true);
  }
  return out;
}

const raw = (a: ArrayBufferView): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
const bytes = (a: Arr): Uint8Array => raw(a.data);

export const kernels: Record<string, Call> = {
  /**
   * y[T, N] = x[T, K] · wᵀ + bias, with w of GGUF's `type` in the server's `format` for it. `holds` names the weight: sent once, then only
   * named. Answers whether the weight must be sent.
   */
  'ops.linear': async ({ backend, N, K, type, format, holds, bias }, [x, ...rest]) => {
    const [n, k] = [Number(N), Number(K)];
    const T = x.shape[0];
    const as = formatOf(tensor(String(type), n, k, { shape: [0], data: new Uint8Array(0) }), format as Format);
    const l = await linearOf(backend, as, n, k, T);
    const sent = bias ? rest.slice(0, -1) : rest;
    if (sent.length > 0) {
      let at = 0;
      for await (const piece of packedPieces(tensor(String(type), n, k, sent[0]), as)) {
        l.be.write(l.w.data, piece, at);
        at += piece.length;
      }
      l.holds = String(holds);
    } else if (l.holds !== holds) return { value: { missing: true } };
    kernelsOf(backend).activate(l.be, l.x, x.data as Float32Array, T);
    if (bias) l.be.write(l.bias, bytes(rest[rest.length - 1]));
    l.be.matmul(l.y, l.x, l.w, T, bias ? { bias: l.bias } : {});
    const y = await l.be.read(l.y, 0, T * n * 4);
    return { value: { format: as }, arrays: [{ shape: [T, n], data: new Float32Array(y.buffer, y.byteOffset, T * n) }] };
  },

  /** Pages [P, bytes] of one sequence's keys and values, each [T, G, d]: one layer. */
  'ops.pages': async ({ backend, format }, [k, v]) => {
    const [T, G, d] = k.shape;
    const P = Math.ceil(T / PAGE);
    const shape = { format: format as KvFormat, layers: 1, kvHeads: G, headDim: d };
    const be = await kernelsOf(backend).open((3 * T * G * d + T * d + 8 * T) * 4 + P * pageBytes(shape) + (1 << 20));
    const pool = be.kvPool(shape, P);
    const qkv = new Float32Array(T * 3 * G * d);
    for (let t = 0; t < T; t++) {
      qkv.set((k.data as Float32Array).subarray(t * G * d, (t + 1) * G * d), (t * 3 + 1) * G * d);
      qkv.set((v.data as Float32Array).subarray(t * G * d, (t + 1) * G * d), (t * 3 + 2) * G * d);
    }
    const still = new Float32Array(T * d);
    for (let t = 0; t < T; t++) still.fill(1, t * d, t * d + d / 2); // cosines 1, sines 0: nothing turns
    const fill = filler(be);
    const count = Array.from({ length: T }, (_, i) => i);
    const batch = batchOf(fill, { pos: count, slot: count, seqOf: count.map(() => 0), blocks: count.slice(0, P), S: 1 });
    be.ropeStore(be.alloc(T * G * d * 4, 'q'), pool, fill(qkv, 'qkv'), fill(still, 'angles'), batch, 0, G);
    return { arrays: [{ shape: [P, pool.pageBytes], data: await be.read(pool.data, 0, P * pool.pageBytes) }] };
  },

  /** out[T, H·d]: attention of q[T, H, d] over pages[P, bytes]; pos, seq [T] and blocks [S, M] as in the batch of engine/backend.ts. */
  'ops.attention': async ({ backend, format, kvHeads, layers, layer }, [q, pages, pos, seq, blocks]) => {
    const [T, H, d] = q.shape;
    const [S, M] = blocks.shape;
    const P = pages.shape[0];
    const shape = { format: format as KvFormat, layers: Number(layers), kvHeads: Number(kvHeads), headDim: d };
    if (pages.shape[1] !== pageBytes(shape))
      throw new Error(`paged_attention: pages have ${pages.shape[1]} bytes, must have ${pageBytes(shape)}`);
    const list = (a: Arr) => Array.from(a.data as Uint32Array);
    const [at, of, table] = [list(pos), list(seq), list(blocks)];
    at.forEach((p, t) => {
      if (!(of[t] < S)) throw new Error(`paged_attention: token ${t} is of sequence ${of[t]}, there are ${S}`);
      const need = Math.floor(p / PAGE) + 1;
      if (need > M || table.slice(of[t] * M, of[t] * M + need).some((b) => b >= P)) {
        throw new Error(`paged_attention: token ${t} at position ${p} needs ${need} pages below ${P} in its row of ${M}`);
      }
    });
    const be = await kernelsOf(backend).open(2 * T * H * d * 4 + P * pageBytes(shape) + (4 * T + S * M) * 4 + (1 << 20));
    const pool = be.kvPool(shape, P);
    be.write(pool.data, bytes(pages));
    const fill = filler(be);
    const batch = batchOf(fill, { pos: at, slot: at.map(() => 0), seqOf: of, blocks: table, S });
    const out = be.act('f32', T, H * d, 'out');
    be.attention(out, fill(q.data as Float32Array, 'q'), pool, batch, Number(layer), H);
    const y = await be.read(out.data, 0, T * H * d * 4);
    return { arrays: [{ shape: [T, H, d], data: new Float32Array(y.buffer, y.byteOffset, T * H * d) }] };
  },
};

type Fill = (data: Float32Array | Uint32Array, label: string) => Buf;

const filler =
  (be: Backend): Fill =>
  (data, label) => {
    const b = be.alloc(Math.max(4, data.byteLength), label);
    be.write(b, raw(data));
    return b;
  };

function batchOf(fill: Fill, b: { pos: number[]; slot: number[]; seqOf: number[]; blocks: number[]; S: number }): Batch {
  const words = (values: number[], label: string) => fill(Uint32Array.from(values), label);
  const T = b.pos.length;
  return {
    ...{
      T,
      S: b.S,
      R: 0,
      maxBlocks: b.blocks.length / b.S,
      ids: words(b.pos, 'ids'),
      pos: words(b.pos, 'pos'),
      slot: words(b.slot, 'slot'),
    },
    ...{ seqOf: words(b.seqOf, 'seqOf'), blocks: words(b.blocks, 'blocks'), rows: words([0], 'rows') },
  };
}
