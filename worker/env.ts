import type { Models } from '../durable-objects/models.ts';
import type { Replicas } from '../durable-objects/replica/port.ts';

/** What the Worker is bound to; see wrangler.toml. */
export interface Env extends Replicas, Models {
  /** Conversations that outlive their isolate. Unset: nothing is stored. */
  SESSION?: DurableObjectNamespace;
  /** The queue before all replicas. Unset: requests go straight to the first one. */
  SCHEDULER?: DurableObjectNamespace;
  /** Lists of each tenant's sessions. Unset: a tenant cannot be erased. */
  TENANT?: DurableObjectNamespace;
  /** The chat page. */
  ASSETS?: Fetcher;
  /** Packs, under the names the URLs have below `/packs/`. */
  PACKS?: R2Bucket;
  /** ONNX Runtime and a sentence encoder (embedder/). Unset: there are no embeddings. */
  EMBEDDER?: Fetcher;
  /** The accelerator's service and its secret; unset: there is none to ask about. */
  NPU?: Fetcher;
  NPU_SECRET?: string;
  /** Seals responses' ids. Unset: one that the queue's object draws once and keeps. */
  ID_SECRET?: string;
  /** Comma-separated `key` or `name:key`. Unset: nobody may, unless PUBLIC or LOCAL_ONLY is `1`. */
  API_KEYS?: string;
  /** `1`: without API_KEYS everybody may. */
  PUBLIC?: string;
  /** Replicas of the model; 1 when unset. */
  REPLICAS?: string;
  /** Opens `/admin`. Unset: there is none. */
  ADMIN_KEY?: string;
  /** The model's name in the API. Unset: the replica decides. */
  MODEL_ID?: string;
  /** `1`: `/packs/*` needs no key. */
  PUBLIC_PACKS?: string;
  /** `1`: requests must name a loopback host, and need no key where there is none. */
  LOCAL_ONLY?: string;
  /** Largest request body; what the context can hold when unset (room.ts). */
  MAX_BODY_BYTES?: string;
  /** Comma-separated origins whose pages may call the API, or `*`. Unset: none but the server's own. */
  CORS_ORIGINS?: string;
}

/** Hono's environment: bindings, and what the first middlewares find out about a request. */
export interface App {
  Bindings: Env;
  Variables: {
    /** Unique, chosen here: a client's own id could be used twice. */
    requestId: string;
    /** Salt of shared pages and unit of fairness: a hash of the key, or `public`. */
    tenant: string;
    /** The model that the request is for, by its own name; unset where the replica decides, or none is asked. */
    model?: string;
  };
}
