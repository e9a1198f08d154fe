/** Int8 keys with a bias such as Qwen2.5's: what the balance makes of them, and that nothing else changes. */
import { expect, test } from 'vitest';
import { keyBalance, normBalance } from '../../engine/balance.ts';
import { allocWeights, kvShape, Runner } from '../../engine/index.ts';
import { kvHeadBytes, PAGE } from '../../engine/layout.ts';
import { ropeRows } from '../../engine/rope.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { makeBatch, readF32, upload } from '../kernels/cases/case.ts';
import { normals } from '../kernels/cases/data.ts';
import { tiny } from './random-model.ts';

const [H, G, d, context] = [4, 2, 64, 32_768];
const rope = { theta: 1e6 };

/** Sizes as in the first layers of Qwen2.5-Coder-0.5B: the slowest pairs far above the others. */
const bias = normals(G * d, 1).map((x, k) => {
  const i = k % (d / 2);
  return i >= 28 ? 90 * x : i >= 22 ? 20 * x : 3 * x;
});

/** Scores of every token's query with every earlier key, q · k / √d, from the given format's pages. */
async function scores(
  format: 'i8' | 'f32',
  balanced: boolean,
  T = 4 * PAGE,
  norms?: { q: readonly number[] | Float32Array; k: readonly number[] | Float32Array },
) {
  const b = createReference({ memoryBytes: 64 << 20 });
  const shape = kvShape({ ...tiny, layers: 1, kvHeads: G, headDim: d }, format);
  const kv = b.kvPool(shape, T / PAGE);
  const width = (H + 2 * G) * d;
  const x = normals(T * width, 2);
  if (!norms) for (let t = 0; t < T; t++) for (let k = 0; k < G * d; k++) x[t * width + H * d + k] += bias[k];
  const q = b.alloc(T * H * d * 4, 'q');
  const table = upload(b, ropeRows(rope, d, 0, T), 'table');
  const batch = makeBatch(
    b,
    Array.from({ length: T }, (_, p) => [0, p] as const),
    [Array.from({ length: T / PAGE }, (_, p) => p)],
  );
  const balance = balanced ? upload(b, keyBalance(bias, rope, d, context), 'balance') : undefined;
  const gain = (g: readonly number[] | Float32Array) => upload(b, Float32Array.from(g), 'gain');
  const qkNorm = norms && { q: gain(norms.q), k: gain(norms.k), eps: 1e-6 };
  b.ropeStore(q, kv, upload(b, x, 'qkv'), table, batch, 0, H, qkNorm, balance);
  const queries = (await readF32(b, 'q', q, 0, T * H * d)).values;
  const raw = await b.read(kv.data, 0, kv.pages * kv.pageBytes);
  const bytes = raw.slice().buffer;
  const head = kvHeadBytes(shape);
  const key = (t: number, g: number, k: number) => {
    const at = Math.floor(t / PAGE) * kv.pageBytes + g * head;
    const j = t % PAGE;
    if (format === 'f32') return new Float32Array(bytes, at + (k * PAGE + j) * 4, 1)[0];
    const scale = new Float32Array(bytes, at + 2 * PAGE * d + j * 4, 1)[0];
    return scale * new Int8Array(bytes, at + (k >> 1) * 2 * PAGE + j * 2 + (k & 1), 1)[0];
  };
  const out: number[][] = [];
  for (let t = PAGE; t < T; t += 7) {
    for (let h = 0; h < H; h++) {
      const row = Array.from({ length: t + 1 }, (_, j) => {
        let dot = 0;
        for (let k = 0; k < d; k++) dot += queries[(t * H + h) * d + k] * key(j, Math.floor(h / (H / G)), k);
        return dot / Math.sqrt(d);
      });
      const mean = row.reduce((a, v) => a + v, 0) / row.length;
      out.push(row.map((v) => v - mean)); // what softmax sees
    }
  }
  return out.flat();
}

const rms = (a: readonly number[], b: readonly number[]) => Math.sqrt(a.reduce((s, x, i) => s + (x - b[i]) ** 2, 0) / a.length);

test('scores from balanced int8 keys are ten times nearer to those of f32 keys, up to what softmax does not see', async () => {
  const exact = await scores('f32', false);
  const plain = rms(await scores('i8', false), exact);
  const balanced = rms(await scores('i8', true), exact);
  expect(balanced).toBeLessThan(plain / 10);
  expect(balanced).toBeLessThan(0.05);
});

test('the balance itself changes no score: f32 pages with it give those without, up to rounding', async () => {
  expect(rms(await scores('f32', true), await scores('f32', false))).toBeLessThan(1e-4);
});

test('a model whose biases are zero gets scales that are all equal and no offset', () => {
  const zero = keyBalance(new Float32Array(G * d), rope, d, context);
  expect(new Set(zero)).toEqual(new Set([0, 4]));
});

/** Gains as in Gemma 3: a few pairs of keys twenty times the others, queries the other way round. */
const [qGains, kGains] = [0, 1].map((which) =>
  normals(d, 7 + which).map((x, k) => {
    const large = [3, 11, 12, 30].includes(k % (d / 2));
    return (1.5 + 0.3 * x) * (large ? (which === 1 ? 20 : 0.2) : 1);
  }),
);
const evened = () => {
  const s = normBalance(qGains, kGains);
  return { s, q: Float32Array.from(qGains, (g, i) => g * s[i]), k: Float32Array.from(kGains, (g, i) => g / s[i]) };
};

test('gains of a norm are evened out by powers of two that a pair shares', () => {
  const { s } = evened();
  for (const [i, x] of s.entries()) {
    expect(Number.isInteger(Math.log2(x))).toBe(true);
    expect(x).toBe(s[(i + d / 2) % d]);
  }
  expect(new Set(s).size).toBeGreaterThan(1);
  for (const odd of [new Float32Array(d), new Float32Array(d).fill(1e30), new Float32Array(d).fill(-1)]) {
    for (const x of [...normBalance(odd, kGains), ...normBalance(qGains, odd)]) expect(Number.isInteger(Math.log2(x))).toBe(true);
  }
});

test('with evened gains f32 pages give the same bits, and int8 keys scores at least twice as near', async () => {
  const raw = { q: qGains, k: kGains };
  const exact = await scores('f32', false, 4 * PAGE, raw);
  const same = await scores('f32', false, 4 * PAGE, evened());
  expect(same).toEqual(exact);
  const plain = rms(await scores('i8', false, 4 * PAGE, raw), exact);
  expect(rms(await scores('i8', false, 4 * PAGE, evened()), exact)).toBeLessThan(plain / 2);
});

test('weights whose loader forgot the balance are refused for int8 pages', () => {
  const be = createReference({ memoryBytes: 64 << 20 });
  const { weights } = allocWeights(be, tiny, () => 'f32');
  const size = { maxTokens: 16, maxSequences: 1, maxRows: 1, maxBlocks: 4, context: 64 };
  const runner = (kv: 'i8' | 'f32') => new Runner({ backend: be, config: tiny, weights, size, kv, pages: 4 });
  expect(() => runner('i8')).toThrow('balanceKeys was not called');
  runner('f32');
});
