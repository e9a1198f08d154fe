/** From what the model gives to one vector a text. */
import type { Pooling } from './manifest.ts';

/** hidden [B, T, D] (or [B, D] when pooling is none), lengths [B] -> vectors [B] of D numbers. */
export function poolTokens(
  hidden: Float32Array,
  pooling: Pooling,
  lengths: readonly number[],
  tokens: number,
  dim: number,
): Float32Array[] {
  return lengths.map((n, b) => {
    if (pooling === 'none') return hidden.slice(b * dim, (b + 1) * dim);
    const start = b * tokens * dim;
    if (pooling === 'cls') return hidden.slice(start, start + dim);
    const sum = new Float64Array(dim);
    for (let t = 0; t < n; t++) for (let d = 0; d < dim; d++) sum[d] += hidden[start + t * dim + d];
    return Float32Array.from(sum, (x) => x / n);
  });
}

/** The first `dimensions` numbers, at length 1 when the model's vectors have that. */
export function finish(vector: Float32Array, dimensions: number, normalize: boolean): Float32Array {
  const v = vector.slice(0, dimensions);
  if (!normalize) return v;
  let squares = 0;
  for (const x of v) squares += x * x;
  const scale = squares > 0 ? 1 / Math.sqrt(squares) : 0;
  return v.map((x) => x * scale);
}
