import { baseOf, type FirstModel, isFirst } from '../../serving/models.ts';
import type { SchedulerPort } from '../../serving/scheduler.ts';
import { stubAs } from '../stub.ts';

/** All replicas of a model share one queue; `model`: the first one unless given. Take a new port for every call: one that failed stays broken. */
export function schedulerOf(env: { SCHEDULER: DurableObjectNamespace } & FirstModel, model?: string): SchedulerPort {
  const name = model === undefined || isFirst(env, model) ? 'scheduler' : `scheduler/${baseOf(env, model)}`;
  return stubAs(env.SCHEDULER.get(env.SCHEDULER.idFromName(name)));
}
