import type { Act, Backend, Batch, Buf, Weight } from '../../engine/backend.ts';
import type { ModelConfig } from '../../engine/config.ts';
import { packWeight } from '../../engine/formats.ts';
import { PAGE } from '../../engine/layout.ts';
import { ropeTable } from '../../engine/rope.ts';
import { chooseFormat, type FormatOptions, type ModelFiles } from '../model.ts';
import type { ModelTensor } from '../tensors.ts';
import { decodeRows, packedPieces, type Quantizer } from './convert.ts';
import { Hessian } from './gptq.ts';

/** The matrices of a layer, by what engine/config.ts calls them. */
export const KINDS = ['qkv', 'o', 'gateUp', 'down'] as const;
export type Kind = (typeof KINDS)[number];

/** A whole tensor as f32 [N, K]. */
export async function readTensor(t: ModelTensor): Promise<Float32Array> {
  const out = new Float32Array(t.N * t.K);
  let row = 0;
  for (const p of t.parts) {
    out.set(decodeRows(p, await p.read(0, p.rows), p.rows), row * t.K);
    row += p.rows;
  }
  return out;
}

/** Runs one layer at a time over all sequences, keeping their residual streams on this side and one layer's weights on the backend, in f32. */
export async function layerRunner(
  be: Backend,
  model: ModelFiles,
  sequences: readonly (readonly number[])[],
  tensor: (name: string) => ModelTensor,
  options: FormatOptions & { quantizer?: Quantizer },
) {
  const c: ModelConfig = model.config;
  const { hidden: D, heads: H, kvHeads: G, headDim: d, ffn: F, normEps: eps } = c;
  const T = Math.max(...sequences.map((s) => s.length));
  if (!(T >= 1 && T <= c.context)) throw new Error(`calibration sequences must have 1..${c.context} tokens`);
  const pages = Math.ceil(T / PAGE);
  const words = (values: ArrayLike<number>, label: string) => filled(be, Uint32Array.from(values), label);
  const vector = (n: number, label: string) => be.alloc(n * 4, label);

  const ids = vector(T, 'ids');
  const batch: Batch = {
    T: 0,
    S: 1,
    R: 0,
    ids,
    pos: words(
      Array.from({ length: T }, (_, i) => i),
      'pos',
    ),
    slot: words(
      Array.from({ length: T }, (_, i) => i),
      'slot',
    ),
    seqOf: vector(T, 'seqOf'),
    blocks: words(
      Array.from({ length: pages }, (_, i) => i),
      'blocks',
    ),
    maxBlocks: pages,
    rows: vector(1, 'rows'),
  };
  const table = filled(be, ropeTable(c, T), 'rope');
  const kv = be.kvPool({ format: 'f32', layers: 1, kvHeads: G, headDim: d }, pages);
  const [x, qkv, q, gateUp] = [vector(T * D, 'x'), vector(T * (H + 2 * G) * d, 'qkv'), vector(T * H * d, 'q'), vector(T * 2 * F, 'gateUp')];
  const acts = {
    normed: be.act('f32', T, D, 'normed'),
    attended: be.act('f32', T, H * d, 'attended'),
    gated: be.act('f32', T, F, 'gated'),
  };
  const matrix = (name: string): Weight => {
    const { N, K } = tensor(name);
    return { format: 'f32', N, K, data: be.alloc(packWeight('f32', N, K, new Float32Array(N * K)).length, name) };
  };
  const matrices: Record<Kind, Weight> = {
    qkv: matrix('layers.0.qkv'),
    o: matrix('layers.0.o'),
    gateUp: matrix('layers.0.gateUp'),
    down: matrix('layers.0.down'),
  };
  const small = { attnNorm: D, ffnNorm: D, ...(c.qkvBias && { qkvBias: (H + 2 * G) * d }), ...(c.qkNorm && { qNorm: d, kNorm: d }) };
  const vectors = Object.fromEntries(Object.entries(small).map(([name, n]) => [name, vector(n, name)])) as Record<
    keyof typeof small | 'qNorm' | 'kNorm' | 'qkvBias',
    Buf
  >;
  const norm = filled(be, await readTensor(tensor('norm')), 'norm');

  const rows = async (a: Act, n: number) => f32(await be.read(a.data, 0, n * a.K * 4));
  const streams = await embedAll();

  /** x of every sequence: rows of the embedding as it will be quantized. */
  async function embedAll(): Promise<Uint8Array[]> {
    const t = tensor('embed');
    const format = chooseFormat(model, t, options);
    const pieces: Uint8Array[] = [];
    for await (const p of packedPieces(t, format, undefined, options.quantizer)) pieces.push(p);
    const data = be.alloc(
      pieces.reduce((n, p) => n + p.length, 0),
      'embed',
    );
    let at = 0;
    for (const p of pieces) {
      be.write(data, p, at);
      at += p.length;
    }
    const out: Uint8Array[] = [];
    for (const s of sequences) {
      be.write(ids, new Uint8Array(Uint32Array.from(s).buffer));
      be.embed(x, { format, N: t.N, K: t.K, data }, ids, s.length);
      out.push(await be.read(x, 0, s.length * D * 4));
    }
    return out;
  }

  return {
    matrices,
    hessians: (): Record<Kind, Hessian> => ({ qkv: new Hessian(D), o: new Hessian(H * d), gateUp: new Hessian(D), down: new Hessian(F) }),
    /** Puts layer l's weights, unquantized, into the one layer that the backend holds. */
    async load(l: number): Promise<void> {
      for (const kind of KINDS) {
        const t = tensor(`layers.${l}.${kind}`);
        be.write(matrices[kind].data, packWeight('f32', t.N, t.K, await readTensor(t)));
      }
      for (const name of Object.keys(small) as (keyof typeof small)[]) {
        const values = await readTensor(tensor(`layers.${l}.${name}`));
        be.write(vectors[name], new Uint8Array(values.buffer));
      }
    },
    /** Runs the layer over every sequence; with `tap`, shows the inputs of its matrices and leaves the streams as they were. */
    async layer(tap: ((kind: Kind, X: Float32Array) => void) | undefined): Promise<void> {
      for (const [i, s] of sequences.entries()) {
        const n = s.length;
        batch.T = n;
        be.write(x, streams[i]);
        be.norm(acts.normed, x, vectors.attnNorm, eps, n, D);
        tap?.('qkv', await rows(acts.normed, n));
        be.matmul(qkv, acts.normed, matrices.qkv, n, c.qkvBias ? { bias: vectors.qkvBias } : {});
        be.ropeStore(q, kv, qkv, table, batch, 0, H, c.qkNorm ? { q: vectors.qNorm, k: vectors.kNorm, eps } : undefined);
        be.attention(acts.attended, q, kv, batch, 0, H);
        tap?.('o', await rows(acts.attended, n));
        be.matmul(x, acts.attended, matrices.o, n, { accumulate: true });
        be.norm(acts.normed, x, vectors.ffnNorm, eps, n, D);
        tap?.('gateUp', await rows(acts.normed, n));
        be.matmul(gateUp, acts.normed, matrices.gateUp, n);
        be.swiglu(acts.gated, gateUp, n, F);
        tap?.('down', await rows(acts.gated, n));
        if (tap) continue;
        be.matmul(x, acts.gated, matrices.down, n, { accumulate: true });
        streams[i] = await be.read(x, 0, n * D * 4);
      }
    },
    async head(tap: (X: Float32Array) => void): Promise<void> {
      for (const [i, s] of sequences.entries()) {
        be.write(x, streams[i]);
        be.norm(acts.normed, x, norm, eps, s.length, D);
        tap(await rows(acts.normed, s.length));
      }
    },
  };
}

function filled(be: Backend, values: Uint32Array<ArrayBuffer> | Float32Array, label: string): Buf {
  const buf = be.alloc(values.byteLength, label);
  be.write(buf, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return buf;
}

const f32 = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.slice().buffer);
