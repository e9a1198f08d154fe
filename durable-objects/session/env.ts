import { readNumber, type Variables } from '../../policy/settings.ts';
import type { Replicas } from '../replica/port.ts';

/** A replica answers POST /session/run with the lines of a generation (RunLine). */
export interface SessionEnv extends Replicas, Variables {
  /** Loads models on this machine. */
  LAUNCHER?: Fetcher;
  SCHEDULER: DurableObjectNamespace;
  /** Lists of each tenant's sessions. Unset: a tenant cannot be erased. */
  TENANT?: DurableObjectNamespace;
}

export function sessionLimits(env: Variables): { ttlMs: number; quota: number } {
  return { ttlMs: readNumber('SESSION_TTL_S', env) * 1000, quota: readNumber('SESSION_BYTES', env) };
}
