import type { Rope } from './anatomy.ts';
import { pow, sincos } from './math.ts';

/** Inverse frequencies [d/2] (Su et al., RoFormer), with the configured scaling (Llama 3's: Hugging Face modeling_rope_utils). */
export function inverseFrequencies({ theta, scaling: s }: Rope, headDim: number): Float64Array {
  const half = headDim / 2;
  const freq = new Float64Array(half);
  for (let i = 0; i < half; i++) {
    const f = theta === 0 ? 0 : pow(theta, (-2 * i) / headDim);
    freq[i] = f;
    if (s?.kind === 'linear') freq[i] = f / s.factor;
    if (s?.kind === 'factors') freq[i] = f / (s.factors[i] ?? 1);
    if (s?.kind === 'llama3') {
      const wavelength = 6.283185307179586 / f;
      const low = s.originalContext / s.lowFreqFactor;
      const high = s.originalContext / s.highFreqFactor;
      const smooth = (s.originalContext / wavelength - s.lowFreqFactor) / (s.highFreqFactor - s.lowFreqFactor);
      if (wavelength > low) freq[i] = f / s.factor;
      else if (wavelength > high) freq[i] = ((1 - smooth) * f) / s.factor + smooth * f;
    }
  }
  return freq;
}

/** f32 [to - from, d]: for each position d/2 cosines, then d/2 sines. */
export function ropeRows(rope: Rope, headDim: number, from: number, to: number): Float32Array {
  const half = headDim / 2;
  const freq = inverseFrequencies(rope, headDim);
  const rows = new Float32Array((to - from) * headDim);
  for (let pos = from; pos < to; pos++) {
    const at = (pos - from) * headDim;
    for (let i = 0; i < half; i++) {
      const [sin, cos] = sincos(pos * freq[i]);
      rows[at + i] = cos;
      rows[at + half + i] = sin;
    }
  }
  return rows;
}
