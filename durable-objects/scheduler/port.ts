import type { Ended } from '../../policy/ledger.ts';
import type { AdmitRequest, Heartbeat, Progress } from '../../policy/ticket.ts';
import { type FirstModel, isFirst } from '../models.ts';
import type { AdmitAnswer, SchedulerStats } from './index.ts';

/** The scheduler as its callers see it. */
export interface SchedulerPort {
  admit(request: AdmitRequest): Promise<AdmitAnswer>;
  cancel(id: string): Promise<boolean>;
  erase(tenant: string): Promise<{ waiting: number; running: number }>;
  release(list: Progress[]): Promise<number>;
  heartbeat(replica: string, beat: Heartbeat): Promise<{ abort: string[]; draining: boolean }>;
  died(replica: string): Promise<Ended>;
  drain(replica: string, draining: boolean): Promise<number>;
  close(now: boolean): Promise<number>;
  absent(replica: string, absent: boolean): Promise<void>;
  lease(id: string): Promise<{ state: 'unknown' | 'waiting' | 'running'; epoch: number; replica: string }>;
  stats(): Promise<SchedulerStats>;
  secret(): Promise<string>;
}

/** All replicas of a model share one queue; `model`: the first one unless given. Take a new port for every call: one that failed stays broken. */
export function schedulerOf(env: { SCHEDULER: DurableObjectNamespace } & FirstModel, model?: string): SchedulerPort {
  const name = isFirst(env, model) ? 'scheduler' : `scheduler/${model}`;
  return env.SCHEDULER.get(env.SCHEDULER.idFromName(name)) as unknown as SchedulerPort;
}

/** A queue that went away under the call, evicted or broken by its storage, has forgotten nothing: the same call finds its place. */
export async function again<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch {
    return call();
  }
}
