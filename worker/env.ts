import type { Replicas } from '../durable-objects/replica/port.ts';
import type { Variables } from '../policy/settings.ts';

/** What the Worker is bound to; see wrangler.toml. */
export interface Env extends Variables, Replicas {
  /** Conversations that outlive their isolate. Unset: nothing is stored. */
  SESSION?: DurableObjectNamespace;
  /** The queue before all replicas. Unset: requests go straight to the first one. */
  SCHEDULER?: DurableObjectNamespace;
  /** Lists of each tenant's sessions. Unset: a tenant cannot be erased. */
  TENANT?: DurableObjectNamespace;
  /** Files and batches of each tenant. Unset: there are none. */
  BATCHES?: DurableObjectNamespace;
  /** WebSockets of the Responses API. Unset: there are none. */
  SOCKET?: DurableObjectNamespace;
  /** The chat page. */
  ASSETS?: Fetcher;
  /** Packs, under the names the URLs have below `/packs/`. */
  PACKS?: R2Bucket;
  /** ONNX Runtime and a sentence encoder (embedder/). Unset: there are no embeddings. */
  EMBEDDER?: Fetcher;
  /** The accelerator's service; unset, or without NPU_SECRET: there is none to ask about. */
  NPU?: Fetcher;
  /** Figures of requests, which outlive every isolate. Unset: none are kept. */
  FIGURES?: AnalyticsEngineDataset;
  /** Loads models on this machine. */
  LAUNCHER?: Fetcher;
}
