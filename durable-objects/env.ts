import type { Replica } from './replica/index.ts';

/** Bindings and variables of the Worker and its objects (wrangler.toml). Variables are text; numbers in them are bounded where they are read. */
export interface ReplicaEnv {
  REPLICA: DurableObjectNamespace<Replica>;
  /** Packs: `<MODEL_ID>/model.json` and its shards. Without the bucket, or when it lacks the model, the assets are asked. */
  PACKS?: R2Bucket;
  ASSETS?: Fetcher;
  /** Conversations that outlive their isolate, and the queue. Absent: neither. */
  SESSION?: DurableObjectNamespace;
  SCHEDULER?: DurableObjectNamespace;
  MODEL_ID: string;
  /** `f32` turns the int8 KV off. */
  KV?: string;
  /** What the isolate may hold, where the host allows another amount than 128 MB. */
  MEMORY_MB?: string;
  /** Longest sequence in tokens, at most the model's own. */
  CONTEXT?: string;
  /** Sequences computed together. */
  MAX_BATCH?: string;
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
  /** `0` turns prompt-lookup speculation off. */
  SPECULATE?: string;
}

/** What `KV` asks for; throws when it is neither. */
export function kvOf(value: string | undefined): 'f32' | 'i8' {
  if (value === 'f32') return 'f32';
  if (value === undefined || value === '' || value === 'i8') return 'i8';
  throw new Error(`KV is "${value}", must be i8 or f32`);
}

/** Replicas that one isolate holds. */
export const replicasHere = (env: ReplicaEnv): number =>
  integerVar('REPLICAS_HERE', env.REPLICAS_HERE, 1, 64) ?? integerVar('REPLICAS', env.REPLICAS, 1, 64) ?? 1;

/** A variable that must be an integer in a range; throws with its name otherwise. */
export function integerVar(name: string, value: string | undefined, lo: number, hi: number): number | undefined {
  if (value === undefined || value === '') return undefined;
  const n = Number(value);
  if (!Number.isInteger(n) || n < lo || n > hi) throw new Error(`${name} is "${value}", must be an integer in ${lo}..${hi}`);
  return n;
}
