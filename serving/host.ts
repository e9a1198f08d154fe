/** What a host provides: the one thing that the app of this folder knows of the platform it runs on. */

import type { Variables } from '../policy/settings.ts';
import type { BatchKeeper } from './batches.ts';
import type { ResponseKeeper } from './responses/types.ts';
import type { SchedulerPort } from './scheduler.ts';
import type { Span } from './trace/trace.ts';

/** A service, an object or an engine that answers as `fetch` does. */
export interface Service {
  fetch(url: string, init?: RequestInit): Promise<Response>;
}

/** What is told of a request. */
export interface RequestLine {
  request: string;
  /** The key's name. */
  key?: string;
  method: string;
  route: string;
  model?: string;
  status: number;
  ms: number;
}

export interface Host {
  vars: Variables;
  /** That replica of a model, the first model's unless named. Taken anew for every call: one that failed may stay broken. */
  replica(name: string, model?: string): Service;
  /** The queue of a model's cell, the first unless given, taken anew for every call. Absent: requests go straight to the first replica. */
  queue?(model?: string, cell?: number): SchedulerPort;
  /** The session of that name (responses/ids.ts), begun or not. Absent: nothing is stored. */
  session?(name: string): ResponseKeeper;
  /** Seals responses' ids. */
  secret(): Promise<string>;
  /** The list of a tenant's sessions. Absent: a tenant cannot be erased. */
  sessionsOf?(tenant: string): { erase(): Promise<Erased> };
  /** Loads the models beside the first, and tells of them. */
  launcher?: Service;
  /** Absent: there are no embeddings. */
  embedder?: Service;
  /** Whoever computes prefill elsewhere, reached with its secret. */
  accelerator?: Service;
  /** A key's files and batches. Absent: there are none. */
  batches?(tenant: string): BatchKeeper;
  /** Opens a WebSocket for a tenant, whose handshake is being answered. Absent: there are none. */
  socket?(tenant: string): Promise<Response>;
  /** Set where the host itself asks in a tenant's name: no key is looked for. */
  tenant?: string;
  /** Keeps figures of requests where they outlive whoever counts. Absent: `/metrics` alone counts. */
  figures?(line: RequestLine): void;
  /** The page's files. */
  assets?: { fetch(request: Request): Promise<Response> };
  /** A file of a pack by its path below `/packs/`, beside those among the assets; null where there is none. */
  packFile?(path: string, request: Request): Promise<Response | null>;
  clock: Clock;
}

export interface Clock {
  /** ms */
  now(): number;
  sleep(ms: number): Promise<void>;
}

export const CLOCK: Clock = { now: () => Date.now(), sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) };

/** What has been erased of a tenant. */
export interface Erased {
  sessions: number;
  /** Still to be erased: ask again. */
  left: number;
}

/** Hono's environment: the host, and what the first middlewares find out about a request. */
export interface App {
  Bindings: Host;
  Variables: {
    /** Unique, chosen here: a client's own id could be used twice. */
    requestId: string;
    /** Salt of shared pages and unit of fairness: a hash of the key, or `public`. */
    tenant: string;
    /** When it first asked the queue for a place, ms. */
    queuedAt?: number;
    /** The model that the request is for, by its own name; unset where the replica decides, or none is asked. */
    model?: string;
    /** Of a request that is traced. */
    span?: Span;
  };
}

/**
 * What a part beside the replicas says of itself in an answer's header where it does not run: `not started`, `starting`. Asked with
 * it, a part answers and does not start for that.
 */
export const STATE = 'x-turnstone-state';
