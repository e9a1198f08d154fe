/**
 * What makes int8 keys exact enough where some dimensions are much larger than others: one scale a key leaves the others a few levels.
 *
 * Where keys have a bias: a bias gives some pairs of dimensions sizes of 100 and more where the others have
 * 4 (Qwen2.5). So an i8 page holds, instead of a rotated key k, (k − offset) / scale,
 * and the query is multiplied by `scale`: offset · q is the same for all keys of a query, and softmax does not see it. The offset is the mean
 * of the rotated bias over the context, the scale of a pair what is then left of its bias beside a key's usual size. Both are constants of the
 * model, from its biases alone, and nothing is stored for them in pages.
 *
 * Where keys have a norm: its gains are up to 20 times the usual one (Gemma 3). They are divided by powers of two, and the gains of queries are
 * multiplied by them. Both halves of a pair share one, so that the rotation between norm and page leaves it as it is. f32 pages give the same
 * bits with it and without.
 */
import { type LayerWeights, layersOf, type PartWeights, type Rope, ropesOf } from './anatomy.ts';
import type { Backend, Buf } from './backend.ts';
import type { ModelConfig } from './config.ts';
import { sincos } from './math.ts';
import { inverseFrequencies } from './rope.ts';

/** Size of a key's elements without a bias, the largest of a token: 3 to 6 in Qwen2.5. Halving or doubling it changes little. */
const USUAL = 4;

/** f32 [2, G·d], offsets and then scales, of a layer's key bias [G·d] (rotate-half order) over positions 0..context. */
export function keyBalance(bias: Float32Array, rope: Rope, headDim: number, context: number): Float32Array<ArrayBuffer> {
  const half = headDim / 2;
  const out = new Float32Array(2 * bias.length);
  const freq = inverseFrequencies(rope, headDim);
  for (let i = 0; i < half; i++) {
    // the mean of e^(iωp) over the context is m · e^(ia), and nothing is farther from it than the ends, or its opposite
    const a = (freq[i] * context) / 2;
    const [sin, cos] = sincos(a);
    const m = a > 0 ? sin / a : 1;
    const farthest = Math.sqrt(Math.max(0, 1 + m * m - 2 * m * (a < Math.PI ? cos : -1)));
    for (let at = i; at < bias.length; at += headDim) {
      const x = bias[at];
      const y = bias[at + half];
      out[at] = m * (x * cos - y * sin);
      out[at + half] = m * (y * cos + x * sin);
      const left = farthest * Math.sqrt(x * x + y * y);
      out[bias.length + at] = out[bias.length + at + half] = Math.sqrt(USUAL * USUAL + left * left);
    }
  }
  return out;
}

/** Sizes that a pair of gains may have; beyond them they count as the bound. */
const [LEAST, MOST] = [2 ** -20, 2 ** 20];

/**
 * Powers of two [d] by which the gains of keys are divided and those of queries multiplied. An error of a key's element weighs as much as the
 * query's element is large, so a pair's scale is the size of its keys to the 3/4 over that of its queries to the 1/4, to the nearest power.
 */
export function normBalance(q: ArrayLike<number>, k: ArrayLike<number>): Float64Array {
  const half = k.length / 2;
  const square = (g: ArrayLike<number>, i: number) => Math.min(MOST, Math.max(LEAST, g[i] * g[i] + g[i + half] * g[i + half]));
  return Float64Array.from({ length: k.length }, (_, at) => {
    const i = at % half;
    const eighth = square(k, i) ** 3 / square(q, i); // of the scale, to the power of 8
    return 2 ** Math.floor((exponent(eighth) + 4) / 8);
  });
}

/** ⌊log2 x⌋ of a positive number that is not subnormal. */
const exponent = (x: number): number => (new DataView(Float64Array.of(x).buffer).getUint16(6, true) >> 4) - 1023;

/** Numbers of a layer that its balance is made of, as its files hold them. */
export interface KeyGains {
  /** [G·d], of the keys. */
  bias?: Float32Array;
  /** [d] each. */
  qNorm?: Float32Array;
  kNorm?: Float32Array;
}

/** Balances a layer whose gains and bias are known. */
export function balanceLayer(be: Backend, c: ModelConfig, l: LayerWeights, rope: Rope, { bias, qNorm, kNorm }: KeyGains): void {
  if (l.balanced) throw new Error('a layer is balanced once: its norms hold the balance already');
  if (l.keyBalance && bias) be.write(l.keyBalance, bytesOf(keyBalance(bias, rope, c.headDim, c.context)));
  if (l.qNorm && l.kNorm && qNorm && kNorm) {
    const s = normBalance(qNorm, kNorm);
    be.write(l.qNorm, bytesOf(qNorm.map((g, i) => g * s[i])));
    be.write(l.kNorm, bytesOf(kNorm.map((g, i) => g / s[i])));
  }
  l.balanced = true;
}

const bytesOf = (f: Float32Array<ArrayBufferLike>): Uint8Array => new Uint8Array(f.buffer, f.byteOffset, f.byteLength);

/**
 * Balances every layer once its weights are on the backend; int8 pages of a layer that was left out are refused. `first` is the number of the
 * first layer that is there.
 */
export async function balanceKeys(be: Backend, c: ModelConfig, w: Pick<PartWeights, 'layers'>, first = 0): Promise<void> {
  const layers = layersOf(c);
  const ropes = ropesOf(c);
  const { headDim: d } = c;
  const floats = async (from: Buf | undefined, offset: number, n: number) =>
    from && new Float32Array((await be.read(from, offset * 4, n * 4)).slice().buffer);
  for (const [i, l] of w.layers.entries()) {
    const bias = await floats(l.qkvBias, c.heads * d, c.kvHeads * d);
    const [qNorm, kNorm] = [await floats(l.qNorm, 0, d), await floats(l.kNorm, 0, d)];
    balanceLayer(be, c, l, ropes[layers[first + i].rope], { bias, qNorm, kNorm });
  }
}
