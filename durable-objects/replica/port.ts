import { baseOf, type FirstModel, isFirst } from '../../serving/models.ts';
import { objectNamed, type PlaceVars } from '../place.ts';

/**
 * Where replicas are. `REPLICA_<n>` is bound where replica n belongs to another Worker or process (`script_name`), and so has
 * an isolate, and with it a core, of its own; the others are objects of `REPLICA`.
 */
export interface Replicas extends FirstModel, PlaceVars {
  REPLICA: DurableObjectNamespace;
  /** Replicas of other models, where each has a process of its own. */
  MODEL_REPLICA?: DurableObjectNamespace;
  [elsewhere: `REPLICA_${number}`]: DurableObjectNamespace | undefined;
}

/** Where a replica in a process of its own says how many answers are on their way out of it. */
export const LEAVING = '/leaving';

/** Whether that replica may end without this isolate's process. */
export const isElsewhere = (env: Replicas, replica: string, model?: string): boolean =>
  isFirst(env, model) ? env[`REPLICA_${Number(replica)}`] !== undefined : env.MODEL_REPLICA !== undefined;

/** The object that the model's scheduler calls by this number. Take a new stub for every call: one that failed stays broken. */
export function replicaOf(env: Replicas, replica: string, model?: string): DurableObjectStub {
  if (model !== undefined && !isFirst(env, model)) {
    const apart = env.MODEL_REPLICA ?? env.REPLICA;
    return objectNamed(apart, `replica-${replica}/${baseOf(env, model)}`, env);
  }
  const namespace = env[`REPLICA_${Number(replica)}`] ?? env.REPLICA;
  return objectNamed(namespace, `replica-${replica}`, env);
}
