import { parseSetting, readNumber } from '../policy/settings.ts';

/** Bindings and variables of the Worker and its objects (wrangler.toml). Variables are text; numbers in them are bounded where they are read. */
export interface ReplicaEnv {
  REPLICA: DurableObjectNamespace;
  /** Packs: `<MODEL_ID>/model.json` and its shards. Without the bucket, or when it lacks the model, the assets are asked. */
  PACKS?: R2Bucket;
  ASSETS?: Fetcher;
  /** Conversations that outlive their isolate, and the queue. Absent: neither. */
  SESSION?: DurableObjectNamespace;
  SCHEDULER?: DurableObjectNamespace;
  MODEL_ID: string;
  /** Where MODEL_ID is not the deployment's first model: that one's name. */
  FIRST_MODEL?: string;
  /** `f32` turns the int8 KV off. */
  KV?: string;
  /** What the isolate may hold, where the host allows another amount than 128 MB. */
  MEMORY_MB?: string;
  /** Longest sequence in tokens, at most the model's own. */
  CONTEXT?: string;
  /** Sequences computed together. */
  MAX_BATCH?: string;
  /** MiB for adapters in each replica; none unless given. */
  ADAPTERS_MB?: string;
  /** Replicas of the model. */
  REPLICAS?: string;
  /** How many of them this isolate holds, all unless given: they share its weights and divide its pages. */
  REPLICAS_HERE?: string;
  /** The accelerator: a service binding, or the origin of one elsewhere (a GPU host); its secret; `npu` or `local` force the route. */
  NPU?: Fetcher;
  NPU_URL?: string;
  NPU_SECRET?: string;
  NPU_ROUTE?: string;
  /** What the accelerator computes; default `exact-1`. Another id takes pages within its tolerance, and all pages here are named by it. */
  NPU_NUMERICS?: string;
  /** How long a prompt sent to the accelerator is waited for at least, ms; default 1000. */
  NPU_WAIT_MS?: string;
  /** A model in stages: how it is cut (policy/stages.ts), as JSON. Each stage that is not in this isolate is the object of a binding, by its number. */
  STAGES?: string;
  [stage: `STAGE_${number}`]: DurableObjectNamespace | undefined;
  /** `0` turns prompt-lookup speculation off. */
  SPECULATE?: string;
  TOOL_CALLS?: string;
}

/** What `KV` asks for; throws when it is neither. */
export const kvOf = (value: string | undefined): 'f32' | 'i8' => (parseSetting('KV', value) ?? 'i8') as 'f32' | 'i8';

/** Replicas that one isolate holds. */
export const replicasHere = (env: ReplicaEnv): number => readNumber('REPLICAS', env.REPLICAS_HERE ? { REPLICAS: env.REPLICAS_HERE } : env);
