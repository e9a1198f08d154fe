/**
 * ONNX's own operator cases for attention, rotary embedding and RMS normalization, on the f32 path of a backend.
 * What the contract does not have is named with its reason.
 */
import type { Backend } from '../../../engine/backend.ts';
import { PAGE } from '../../../engine/layout.ts';
import { f32Act, makeBatch, upload } from '../cases/case.ts';
import { type Node, readNodes, readTensor, type Tensor } from './proto.ts';

export interface OnnxCase {
  name: string;
  /** Why the contract does not cover it, or how to run it. */
  outside?: string;
  tolerance: number;
  run(b: Backend): Promise<{ got: Float32Array; want: Float32Array }>;
}

const at = (t: Tensor, ...index: number[]): number => t.values[index.reduce((sum, i, axis) => sum * t.dims[axis] + i, 0)];

async function readFloats(b: Backend, buf: Parameters<Backend['read']>[0], count: number): Promise<Float32Array> {
  return new Float32Array((await b.read(buf, 0, count * 4)).slice().buffer);
}

/** [B, T, H·d] as [B, H, T, d]. */
function split(t: Tensor, heads: number): Tensor {
  if (t.dims.length === 4) return t;
  const [B, T, width] = t.dims;
  const d = width / heads;
  const values = new Float32Array(t.values.length);
  let i = 0;
  for (let b = 0; b < B; b++)
    for (let h = 0; h < heads; h++) for (let s = 0; s < T; s++) for (let k = 0; k < d; k++) values[i++] = at(t, b, s, h * d + k);
  return { dims: [B, heads, T, d], type: t.type, values };
}

/** Two tensors [B, H, T, d] one after the other along T. */
function concat(a: Tensor | undefined, b: Tensor): Tensor {
  if (!a) return b;
  const [B, H, , d] = b.dims;
  const [S, T] = [a.dims[2], b.dims[2]];
  const parts: number[] = [];
  for (let i = 0; i < B * H; i++)
    parts.push(...a.values.subarray(i * S * d, (i + 1) * S * d), ...b.values.subarray(i * T * d, (i + 1) * T * d));
  return { dims: [B, H, S + T, d], type: b.type, values: Float32Array.from(parts) };
}

function attention(node: Node, inputs: (Tensor | undefined)[], want: Tensor): Pick<OnnxCase, 'outside' | 'run'> {
  const a = node.attributes;
  const q = split(inputs[0] as Tensor, a.q_num_heads);
  const key = split(inputs[1] as Tensor, a.kv_num_heads);
  const value = split(inputs[2] as Tensor, a.kv_num_heads);
  const [B, H, T, d] = q.dims;
  const past = inputs[4];
  const k = concat(past, key);
  const v = concat(inputs[5], value);
  const [, G, S] = k.dims;
  const lengths = inputs[6];
  const outside = inputs[3]
    ? 'an attention mask'
    : a.softcap
      ? 'softcap'
      : v.dims[3] !== d
        ? 'values of another size than keys'
        : d % 8 !== 0
          ? `head size ${d}, no multiple of 8`
          : a.is_causal && lengths?.values.some((n) => n < T)
            ? 'queries that see no key'
            : undefined;
  const run: OnnxCase['run'] = async (b) => {
    const pagesEach = Math.ceil(S / PAGE);
    const kv = b.kvPool({ format: 'f32', layers: 1, kvHeads: G, headDim: d }, B * pagesEach);
    const data = new Float32Array((B * pagesEach * kv.pageBytes) / 4);
    for (let s = 0; s < B; s++)
      for (let g = 0; g < G; g++)
        for (let j = 0; j < S; j++) {
          const head = ((s * pagesEach + (j >> 4)) * kv.pageBytes) / 4 + g * 2 * PAGE * d;
          for (let i = 0; i < d; i++) {
            data[head + i * PAGE + (j & 15)] = at(k, s, g, j, i);
            data[head + PAGE * d + (j & 15) * d + i] = at(v, s, g, j, i);
          }
        }
    b.write(kv.data, new Uint8Array(data.buffer));
    // the op divides by √d; another scale goes into the query
    const scale = a.scale ? a.scale * Math.sqrt(d) : 1;
    const rows = new Float32Array(B * T * H * d);
    const tokens: [number, number][] = [];
    for (let s = 0; s < B; s++)
      for (let t = 0; t < T; t++) {
        for (let h = 0; h < H; h++) for (let i = 0; i < d; i++) rows[((s * T + t) * H + h) * d + i] = at(q, s, h, t, i) * scale;
        const seen = lengths ? lengths.values[s] : S;
        const offset = lengths ? seen - T : past ? past.dims[2] : 0;
        tokens.push([s, a.is_causal ? Math.min(S - 1, offset + t) : seen - 1]);
      }
    const tables = Array.from({ length: B }, (_, s) => Array.from({ length: pagesEach }, (_, i) => s * pagesEach + i));
    const out = b.act('f32', B * T, H * d, 'out');
    b.attention(out, upload(b, rows, 'q'), kv, makeBatch(b, tokens, tables), 0, H);
    const y = await readFloats(b, out.data, B * T * H * d);
    const got = new Float32Array(want.values.length);
    let i = 0;
    if (want.dims.length === 3) got.set(y);
    else
      for (let s = 0; s < B; s++)
        for (let h = 0; h < H; h++) for (let t = 0; t < T; t++) for (let k = 0; k < d; k++) got[i++] = y[((s * T + t) * H + h) * d + k];
    return { got, want: want.values };
  };
  return { outside, run };
}

function rope(node: Node, inputs: (Tensor | undefined)[], want: Tensor): Pick<OnnxCase, 'outside' | 'run'> {
  const a = node.attributes;
  const x = split(inputs[0] as Tensor, a.num_heads);
  const [B, H, T, d] = x.dims;
  const [cos, sin, ids] = [inputs[1] as Tensor, inputs[2] as Tensor, inputs[3]];
  const outside = a.interleaved
    ? 'interleaved pairs'
    : a.rotary_embedding_dim
      ? 'a rotated part of the head'
      : d % 8
        ? `head size ${d}, no multiple of 8`
        : undefined;
  const run: OnnxCase['run'] = async (b) => {
    const half = d / 2;
    const positions = cos.values.length / half;
    const table = new Float32Array(positions * d);
    for (let p = 0; p < positions; p++) {
      table.set(cos.values.subarray(p * half, (p + 1) * half), p * d);
      table.set(sin.values.subarray(p * half, (p + 1) * half), p * d + half);
    }
    const width = (H + 2) * d; // and one kv head of zeros
    const qkv = new Float32Array(B * T * width);
    const tokens: [number, number][] = [];
    for (let s = 0; s < B; s++)
      for (let t = 0; t < T; t++) {
        for (let h = 0; h < H; h++) for (let i = 0; i < d; i++) qkv[(s * T + t) * width + h * d + i] = at(x, s, h, t, i);
        tokens.push([0, ids ? ids.values[s * T + t] : s * T + t]);
      }
    const kv = b.kvPool({ format: 'f32', layers: 1, kvHeads: 1, headDim: d }, Math.ceil(positions / PAGE));
    const q = b.alloc(B * T * H * d * 4, 'q');
    const batch = makeBatch(b, tokens, [Array.from({ length: kv.pages }, (_, i) => i)]);
    b.ropeStore(q, kv, upload(b, qkv, 'qkv'), upload(b, table, 'table'), batch, 0, H);
    const y = await readFloats(b, q, B * T * H * d);
    if (want.dims.length === 3) return { got: y, want: want.values };
    return {
      got: y,
      want: Float32Array.from(y, (_, i) =>
        at(want, Math.floor(i / (T * H * d)), Math.floor(i / d) % H, Math.floor(i / (H * d)) % T, i % d),
      ),
    };
  };
  return { outside, run };
}

function rmsNorm(node: Node, inputs: (Tensor | undefined)[], want: Tensor): Pick<OnnxCase, 'outside' | 'run'> {
  const x = inputs[0] as Tensor;
  const gain = inputs[1] as Tensor;
  const axis = (node.attributes.axis ?? -1) + ((node.attributes.axis ?? -1) < 0 ? x.dims.length : 0);
  const D = x.dims.slice(axis).reduce((p, n) => p * n, 1);
  const outside = D % 4 ? `rows of ${D} values, no multiple of 4` : gain.values.length !== D ? 'a gain that is broadcast' : undefined;
  const run: OnnxCase['run'] = async (b) => {
    const n = x.values.length / D;
    const out = f32Act(b, new Float32Array(n * D), n, D);
    b.norm(out, upload(b, x.values, 'x'), upload(b, gain.values, 'gain'), node.attributes.epsilon ?? 1e-5, n, D);
    return { got: await readFloats(b, out.data, n * D), want: want.values };
  };
  return { outside, run };
}

const ops = { Attention: attention, RotaryEmbedding: rope, RMSNormalization: rmsNorm };

/** Every case of the three operators in the archive's files. */
export function onnxCases(files: Map<string, Uint8Array>): OnnxCase[] {
  const cases: OnnxCase[] = [];
  for (const [path, model] of files) {
    const name = path.match(/\/test_((?:attention|rotary_embedding|rms_normalization)[^/]*)\/model\.onnx$/)?.[1];
    if (!name) continue;
    const [node] = readNodes(model);
    const file = (kind: string, i: number) => files.get(path.replace('model.onnx', `test_data_set_0/${kind}_${i}.pb`));
    let given = 0;
    const inputs = node.inputs.map((input) => (input ? readTensor(file('input', given++) as Uint8Array) : undefined));
    const want = readTensor(file('output', 0) as Uint8Array);
    const build = ops[node.op as keyof typeof ops];
    const tolerance = want.type === 10 ? 2e-3 : 1e-5;
    cases.push({ name, tolerance, ...build(node, inputs, want) });
  }
  return cases.sort((a, b) => (a.name < b.name ? -1 : 1));
}
