import { readNumber } from '../../policy/settings.ts';
import type { Vars } from '../../serving/host.ts';
import type { Replicas } from '../replica/port.ts';

/** A replica answers POST /session/run with the lines of a generation (RunLine). */
export interface SessionEnv extends Replicas, Pick<Vars, 'MODELS' | 'ALIASES'> {
  /** Loads models on this machine. */
  LAUNCHER?: Fetcher;
  SCHEDULER: DurableObjectNamespace;
  /** Lists of each tenant's sessions. Unset: a tenant cannot be erased. */
  TENANT?: DurableObjectNamespace;
  /** Seconds a session is kept after its last use; a day when unset. */
  SESSION_TTL_S?: string;
  /** Bytes of KV pages one session keeps; 64 MiB when unset. */
  SESSION_BYTES?: string;
}

export function sessionLimits(env: Pick<SessionEnv, 'SESSION_TTL_S' | 'SESSION_BYTES'>): { ttlMs: number; quota: number } {
  return { ttlMs: readNumber('SESSION_TTL_S', env) * 1000, quota: readNumber('SESSION_BYTES', env) };
}
