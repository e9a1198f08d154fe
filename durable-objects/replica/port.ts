/**
 * Where replicas are. `REPLICA_<n>` is bound where replica n belongs to another Worker or process (`script_name`), and so has
 * an isolate, and with it a core, of its own; the others are objects of `REPLICA`.
 */
export interface Replicas {
  REPLICA: DurableObjectNamespace;
  [elsewhere: `REPLICA_${number}`]: DurableObjectNamespace | undefined;
}

/** Whether that replica may end without this isolate's process. */
export const isElsewhere = (env: Replicas, replica: string): boolean => env[`REPLICA_${Number(replica)}`] !== undefined;

/** The object that the scheduler calls by this number. Take a new stub for every call: one that failed stays broken. */
export function replicaOf(env: Replicas, replica: string): DurableObjectStub {
  const namespace = env[`REPLICA_${Number(replica)}`] ?? env.REPLICA;
  return namespace.get(namespace.idFromName(`replica-${replica}`));
}
