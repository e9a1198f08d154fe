import { baseOf, type FirstModel, isFirst } from '../../serving/models.ts';
import type { SchedulerPort } from '../../serving/scheduler.ts';
import { objectNamed, type PlaceVars } from '../place.ts';
import { stubAs } from '../stub.ts';

/** All replicas of a model's cell share one queue; `model`: the first one unless given. Take a new port for every call: one that failed stays broken. */
export function schedulerOf(env: { SCHEDULER: DurableObjectNamespace } & FirstModel & PlaceVars, model?: string, cell = 0): SchedulerPort {
  const name = model === undefined || isFirst(env, model) ? 'scheduler' : `scheduler/${baseOf(env, model)}`;
  return stubAs(objectNamed(env.SCHEDULER, cell === 0 ? name : `${name}~${cell}`, env));
}

/** Which cell's a queue of that name is. */
export const cellNamed = (name = ''): number => Number(/~(\d+)$/.exec(name)?.[1] ?? 0);
