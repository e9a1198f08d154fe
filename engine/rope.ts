import type { ModelConfig } from './config.ts';
import { pow, sincos } from './math.ts';

/** Inverse frequencies [d/2] (Su et al., RoFormer), with the configured scaling (Llama 3's: Hugging Face modeling_rope_utils). */
export function inverseFrequencies(c: ModelConfig): Float64Array {
  const half = c.headDim / 2;
  const freq = new Float64Array(half);
  const s = c.ropeScaling;
  for (let i = 0; i < half; i++) {
    const f = pow(c.ropeTheta, (-2 * i) / c.headDim);
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
export function ropeRows(c: ModelConfig, from: number, to: number): Float32Array {
  const half = c.headDim / 2;
  const freq = inverseFrequencies(c);
  const rows = new Float32Array((to - from) * c.headDim);
  for (let pos = from; pos < to; pos++) {
    const at = (pos - from) * c.headDim;
    for (let i = 0; i < half; i++) {
      const [sin, cos] = sincos(pos * freq[i]);
      rows[at + i] = cos;
      rows[at + half + i] = sin;
    }
  }
  return rows;
}

/** All positions' rows. */
export const ropeTable = (c: ModelConfig, context: number): Float32Array => ropeRows(c, 0, context);
