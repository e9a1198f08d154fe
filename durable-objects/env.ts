import { readNumber, type Variables } from '../policy/settings.ts';
import type { FacetEnv } from './replica/facets.ts';

/** What a replica is bound to (wrangler.toml), and its variables. */
export interface ReplicaEnv extends Variables, FacetEnv {
  MODEL_ID: string;
  REPLICA: DurableObjectNamespace;
  /** Packs: `<MODEL_ID>/model.json` and its shards. Without the bucket, or when it lacks the model, the assets are asked. */
  PACKS?: R2Bucket;
  ASSETS?: Fetcher;
  /** Conversations that outlive their isolate, and the queue. Absent: neither. */
  SESSION?: DurableObjectNamespace;
  SCHEDULER?: DurableObjectNamespace;
  /** The accelerator, where it is no NPU_URL. */
  NPU?: Fetcher;
  /** Where STAGES is given (policy/stages.ts, as JSON): the object of each stage that is not in this isolate, by its number. */
  [stage: `STAGE_${number}`]: DurableObjectNamespace | undefined;
}

/** Replicas that one isolate holds. */
export const replicasHere = (env: ReplicaEnv): number => readNumber('REPLICAS_HERE', env) ?? readNumber('REPLICAS', env);
