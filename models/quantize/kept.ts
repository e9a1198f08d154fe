import type { WeightFormat } from '../../engine/backend.ts';
import { isPlanes, PLAIN } from '../../engine/formats.ts';
import { f16ToF32, f32ToF16 } from '../../engine/math.ts';
import { emptyPlanes, PLANES, type PlaneFormat, type PlaneName, type Planes, planeValues } from '../../engine/planes.ts';
import { keptAs, readPlanes, type TypedPlanes } from '../gguf/planes.ts';
import { fromQ4_0, fromQ8_0, type Quantized, type Rounded } from './rtn.ts';

/**
 * Which formats hold a stored type's very numbers. A type has a format of its own; rows of several types that make one matrix (q, k
 * and v) need one that holds them all: with more bits, the same scales and the same minima.
 */
const HELD: ReadonlyMap<string, readonly WeightFormat[]> = new Map<string, readonly WeightFormat[]>([
  ...[...keptAs].map(([type, name]): [string, WeightFormat[]] => [type, [name]]),
  ['Q4_0', ['w4', 'q5_0', 'w8']],
  ['Q8_0', ['w8']],
  ['Q4_1', ['q4_1', 'q5_1']],
  ['Q5_0', ['q5_0', 'w8']],
  ['Q2_K', ['q2_k', 'any_k']],
  ['Q3_K', ['q3_k', 'any_k']],
  ['Q4_K', ['q4_k', 'q5_k', 'any_k']],
  ['Q5_K', ['q5_k', 'any_k']],
  ['Q6_K', ['q6_k', 'any_k']],
  ['IQ4_NL', ['iq4_nl', 'w8']],
]);

/** The smallest format that keeps every number of rows stored as these types: f32 where nothing smaller does. */
export function keeping(types: readonly string[]): WeightFormat {
  const [first, ...others] = types.map((type): readonly WeightFormat[] => HELD.get(type) ?? [PLAIN]);
  return first.find((format) => others.every((held) => held.includes(format))) ?? PLAIN;
}

export const keeps = (format: WeightFormat, type: string): boolean => HELD.get(type)?.includes(format) ?? false;

/** Rows stored as a type as the integers of w4 or w8, which keeps them. */
export function keptBlocks(format: Rounded, type: string, raw: Uint8Array, values: number): Quantized {
  if (type === 'Q8_0') return fromQ8_0(raw);
  if (type === 'Q4_0' && format === 'w4') return fromQ4_0(raw);
  if (type === 'Q4_0') {
    const { q, d } = fromQ4_0(raw);
    return { q: q.map((v) => v - 8), d };
  }
  const name = keptAs.get(type) as TypedPlanes;
  const planes = readPlanes(name, raw, values);
  return { q: planeValues(PLANES[name], planes).q, d: planes.d };
}

/** Rows stored as a type as the integers of a format of planes, which keeps them. */
export function keptPlanes(format: PlaneName, type: string, raw: Uint8Array, values: number): Planes {
  if (type === 'Q4_0') {
    const { q, d } = fromQ4_0(raw);
    const none = new Uint8Array(0);
    return { q: Uint8Array.from(q, (v) => v + 8), d, m: new Uint16Array(0), scales: none, minima: none };
  }
  const own = keptAs.get(type);
  if (!own || !isPlanes(format)) throw new RangeError(`has type ${type}, whose numbers ${format} does not hold`);
  const planes = readPlanes(own, raw, values);
  return format === 'any_k' ? anyK(PLANES[own], planes) : planes; // another wider format has the same integers
}

/** A K type as any_k: a scale and a minimum for every 16 columns, and what is taken from q as a minimum: d · s · (q − z) = d · s · q − (z · d) · s. */
function anyK(f: PlaneFormat, { q, d, m, scales, minima }: Planes): Planes {
  const each = f.sub / PLANES.any_k.sub;
  const all = emptyPlanes(PLANES.any_k, 1, q.length);
  all.q.set(q);
  all.d.set(d);
  for (let i = 0; i < all.scales.length; i++) {
    const j = Math.floor(i / each);
    all.scales[i] = f.scales[0] === 8 ? scales[j] : scales[j] - f.scaleZero; // a byte, signed
    all.minima[i] = f.minimum ? minima[j] : all.scales[i];
  }
  if (f.minimum) all.m.set(m);
  else {
    for (let b = 0; b < d.length; b++) {
      const zero = f.zero * f16ToF32(d[b]);
      all.m[b] = f32ToF16(zero);
      if (f16ToF32(all.m[b]) !== zero) throw new RangeError('has a block whose scale is too large to stand beside rows of another type');
    }
  }
  return all;
}
