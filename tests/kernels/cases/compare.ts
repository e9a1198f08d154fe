/** Compares a backend with the reference: bits where both keep exact-1, a tolerance otherwise. */
import type { Backend } from '../../../engine/backend.ts';
import { createReference } from '../../../kernels/reference/index.ts';
import type { Case, Output } from './case.ts';

export interface Comparison {
  /** Null when the backend agrees. */
  failure: string | null;
  /** Largest error relative to the largest value, over all outputs. */
  error: number;
}

async function outputs(c: Case, b: Backend): Promise<Output[]> {
  const prepared = c.prepare(b);
  prepared.run();
  await b.submit();
  return prepared.read();
}

const isNumber = (v: number) => Number.isFinite(v);

/** Largest |got − want| over the largest |want|; infinite when one is finite and the other is not. */
export function relativeError(got: Float32Array, want: Float32Array): number {
  let largest = 0;
  let error = 0;
  for (let i = 0; i < want.length; i++) {
    if (isNumber(want[i])) largest = Math.max(largest, Math.abs(want[i]));
    if (isNumber(want[i]) && isNumber(got[i])) error = Math.max(error, Math.abs(got[i] - want[i]));
    else if (!Object.is(got[i], want[i])) return Infinity;
  }
  return error === 0 ? 0 : error / Math.max(largest, 1e-30);
}

function firstDifference(got: Uint8Array, want: Uint8Array): number {
  if (got.length !== want.length) return Math.min(got.length, want.length);
  return got.findIndex((v, i) => v !== want[i]);
}

function compareOutput(exact: boolean, tolerance: number, got: Output, want: Output): Comparison {
  const error = relativeError(got.values, want.values);
  if (exact) {
    const at = firstDifference(got.bytes, want.bytes);
    const [g, w] = [got.values[at >> 2], want.values[at >> 2]];
    return { error, failure: at < 0 ? null : `${got.name}: byte ${at} of ${want.bytes.length} differs (near ${g}, reference ${w})` };
  }
  return { error, failure: error <= tolerance ? null : `${got.name}: error ${error} exceeds ${tolerance}` };
}

/** What the reference gives, computed once a case: most are compared on several backends. */
const references = new WeakMap<Case, Promise<Output[]>>();
function wanted(c: Case): Promise<Output[]> {
  const known = references.get(c) ?? outputs(c, createReference());
  references.set(c, known);
  return known;
}

/** Runs a case on a backend and on the reference. */
export async function compareCase(c: Case, backend: Backend): Promise<Comparison> {
  const want = await wanted(c);
  const got = await outputs(c, backend);
  let error = 0;
  for (let i = 0; i < want.length; i++) {
    const result = compareOutput(backend.numerics === 'exact-1', c.tolerance, got[i], want[i]);
    if (result.failure) return { ...result, failure: `${c.op} ${c.name}: ${result.failure}` };
    error = Math.max(error, result.error);
  }
  return { failure: null, error };
}
