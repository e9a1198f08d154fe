import type { Replicas } from '../replica/port.ts';

/** A replica answers POST /session/run with the lines of a generation (RunLine). */
export interface SessionEnv extends Replicas {
  SCHEDULER: DurableObjectNamespace;
  /** Seconds a session is kept after its last use; a day when unset. */
  SESSION_TTL_S?: string;
  /** Bytes of KV pages one session keeps; 64 MiB when unset. */
  SESSION_BYTES?: string;
}

export function sessionLimits(env: Pick<SessionEnv, 'SESSION_TTL_S' | 'SESSION_BYTES'>): { ttlMs: number; quota: number } {
  const number = (name: string, value: string | undefined, lo: number, hi: number, otherwise: number): number => {
    if (value === undefined || value === '') return otherwise;
    const n = Number(value);
    if (!(n >= lo && n <= hi)) throw new Error(`${name} is "${value}", must be a number in ${lo}..${hi}`);
    return n;
  };
  return {
    ttlMs: number('SESSION_TTL_S', env.SESSION_TTL_S, 0.1, 366 * 86_400, 86_400) * 1000,
    quota: number('SESSION_BYTES', env.SESSION_BYTES, 0, 9 * 2 ** 30, 64 << 20),
  };
}
