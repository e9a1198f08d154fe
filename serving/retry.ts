import { ApiError } from '../openai/errors.ts';

/** What the platform adds to an error of a call to an object. */
interface CallError {
  /** The call may be made again. */
  retryable?: boolean;
  /** It must not: the object has more to do than it can. */
  overloaded?: boolean;
  durableObjectReset?: boolean;
  /** The object's own code threw it. */
  remote?: boolean;
}

const of = (error: unknown): CallError => (typeof error === 'object' && error !== null ? error : {});
const OVERLOADED_S = 5;

/** What the platform says of it, and that alone. */
export const saysRetryable = (error: unknown): boolean => of(error).retryable === true;

export const isOverloaded = (error: unknown): boolean => of(error).overloaded === true;

/** A call that may be made again: its object was reset or could not be reached, and has room. */
export function isRetryable(error: unknown): boolean {
  const { retryable, durableObjectReset } = of(error);
  if (isOverloaded(error)) return false;
  if (retryable === true || durableObjectReset === true) return true;
  return /connection lost|disconnected|internal error|SQLITE_/i.test(error instanceof Error ? error.message : String(error));
}

/**
 * Makes a call that does the same when it is made twice, once more where its object went away under it, evicted or broken by its
 * storage: it has forgotten nothing. What its code throws is thrown; one that is overloaded is a 503 with Retry-After.
 */
export async function again<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (isRetryable(error) || (!isOverloaded(error) && of(error).remote !== true)) return call();
    if (!isOverloaded(error)) throw error;
    const headers = { 'retry-after': String(OVERLOADED_S) };
    throw new ApiError(503, 'The server has more requests than it can queue. Ask again later.', { code: 'overloaded', headers });
  }
}
