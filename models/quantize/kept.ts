import type { WeightFormat } from '../../engine/backend.ts';
import { isPlanes, PLAIN } from '../../engine/formats.ts';
import { PLANES, type PlaneName, type Planes, planeValues } from '../../engine/planes.ts';
import { keptAs, readPlanes } from '../gguf/planes.ts';
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
  ['Q4_K', ['q4_k', 'q5_k']],
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
  const name = keptAs.get(type) as PlaneName;
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
  return readPlanes(own, raw, values); // a wider format has the same integers
}
