/** Turnstone as a part of your own Worker. Types of the platform come from @cloudflare/workers-types. */
import { DurableObject } from 'cloudflare:workers';

/** What wrangler.toml binds. All variables of docs/settings.md that are not the launcher's may be set beside these. */
export interface Env {
  REPLICA: DurableObjectNamespace;
  SESSION: DurableObjectNamespace;
  SCHEDULER: DurableObjectNamespace;
  TENANT?: DurableObjectNamespace;
  BATCHES?: DurableObjectNamespace;
  SOCKET?: DurableObjectNamespace;
  /** The served pack: `packs/MODEL_ID/` among the assets, or `MODEL_ID/` in the bucket. */
  MODEL_ID: string;
  ASSETS?: Fetcher;
  PACKS?: R2Bucket;
  /** Comma-separated keys, each "key" or "name:key". Without them nobody is served, unless PUBLIC is "1". */
  API_KEYS?: string;
  PUBLIC?: string;
  ADMIN_KEY?: string;
}

/** OpenAI's API at /v1, Anthropic's at /v1/messages, Ollama's at /api, /health, /ready, /metrics, /admin. */
declare const turnstone: { fetch(request: Request, env: Env, ctx: ExecutionContext): Response | Promise<Response> };
export default turnstone;

/** Holds the weights and computes. */
export class Replica extends DurableObject<Env> {}
/** A stored conversation and its KV pages. */
export class Session extends DurableObject<Env> {}
/** The fair queue. */
export class Scheduler extends DurableObject<Env> {}
/** Which sessions a tenant has. */
export class Tenant extends DurableObject<Env> {}
/** A key's files and batches. */
export class Batches extends DurableObject<Env> {}
/** A WebSocket of the Responses API. */
export class Socket extends DurableObject<Env> {}
