import { ApiError } from '../openai/errors.ts';

const NONE = ['none'];

/** Of an ApiError; what else was thrown is thrown on. */
function told(error: unknown): unknown[] {
  if (!(error instanceof ApiError)) throw error;
  return [error.status, error.code, error.param];
}

/** Status, code and param of the ApiError that is thrown; `['none']` where nothing is. */
export function fault(f: () => unknown): unknown[] {
  try {
    f();
  } catch (error) {
    return told(error);
  }
  return NONE;
}

/** The same of a promise, or of what a function answers later. */
export async function laterFault(work: unknown): Promise<unknown[]> {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    return told(error);
  }
  return NONE;
}
