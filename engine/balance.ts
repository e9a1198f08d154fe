/**
 * What makes int8 keys exact enough where keys have a bias. A bias gives some pairs of dimensions sizes of 100 and more where the others have
 * 4 (Qwen2.5), and one scale a key then leaves the others a few levels. So an i8 page holds, instead of a rotated key k, (k − offset) / scale,
 * and the query is multiplied by `scale`: offset · q is the same for all keys of a query, and softmax does not see it. The offset is the mean
 * of the rotated bias over the context, the scale of a pair what is then left of its bias beside a key's usual size. Both are constants of the
 * model, from its biases alone, and nothing is stored for them in pages.
 */
import { layersOf, type PartWeights, type Rope, ropesOf } from './anatomy.ts';
import type { Backend } from './backend.ts';
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

/** Computes the balance of every layer whose keys have a bias, once its weights are on the backend. `first` is the number of the first layer that is there. */
export async function balanceKeys(be: Backend, c: ModelConfig, w: Pick<PartWeights, 'layers'>, first = 0): Promise<void> {
  const layers = layersOf(c);
  const ropes = ropesOf(c);
  const n = c.kvHeads * c.headDim;
  for (const [i, l] of w.layers.entries()) {
    if (!l.qkvBias || !l.keyBalance) continue;
    const raw = await be.read(l.qkvBias, c.heads * c.headDim * 4, n * 4);
    const balance = keyBalance(new Float32Array(raw.slice().buffer), ropes[layers[first + i].rope], c.headDim, c.context);
    be.write(l.keyBalance, new Uint8Array(balance.buffer));
  }
}
