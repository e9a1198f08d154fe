/** The page's side of the engine in its worker: a Transport like the server's, and what the engine says of itself. */
import { httpTransport } from '../api.ts';
import { Problem } from '../problem.ts';
import type { ChatRequest, Delta, Transport } from '../transport.ts';
import type { DeviceState, FromWorker, ToWorker } from './messages.ts';
import { forgetPage, keepPage, scriptUrl } from './offline.ts';
import { HERE } from './seen.ts';
import workerUrl from './worker.ts?worker&url';

const MODEL = 'turnstone.device.model';

export interface Device {
  transport: Transport;
  get(): DeviceState;
  subscribe(listener: (state: DeviceState) => void): () => void;
  /** Stops the engine. What is kept stays. */
  stop(): void;
  /** Stops it and removes the kept model and page. */
  remove(): Promise<void>;
}

interface Call {
  head(status: number, headers: [string, string][]): void;
  bytes(bytes: Uint8Array): void;
  end(value?: number): void;
  error(error: Error): void;
}

/**
 * `server` says which model to load; without a network the last one is taken. `conversation` is what of the chat the server
 * has seen: its pages are asked for, so that this device need not compute it again.
 */
export function createDevice(server: Transport, key: () => string, conversation: () => ChatRequest | undefined): Device {
  let state: DeviceState = { phase: 'off' };
  let worker: Worker | undefined;
  let starting: Promise<Worker> | undefined;
  let carrying: Promise<void> | undefined;
  let last = 0;
  const calls = new Map<number, Call>();
  const listeners = new Set<(state: DeviceState) => void>();
  const show = (next: DeviceState) => {
    state = next;
    for (const listener of listeners) listener(state);
  };

  function take(m: FromWorker): void {
    if (m.kind === 'state') {
      show(m.state);
      return;
    }
    const call = calls.get(m.call);
    if (m.kind === 'head') call?.head(m.status, m.headers);
    else if (m.kind === 'bytes') call?.bytes(m.bytes);
    else {
      calls.delete(m.call);
      if (m.kind === 'end') call?.end(m.value);
      else call?.error(new Error(m.message));
    }
  }

  async function modelId(): Promise<string> {
    try {
      const [model] = await server.models();
      localStorage.setItem(MODEL, model.id);
      return model.id;
    } catch (error) {
      const kept = localStorage.getItem(MODEL);
      if (kept) return kept;
      throw error;
    }
  }

  async function start(): Promise<Worker> {
    const id = await modelId();
    const w = new Worker(scriptUrl(workerUrl), { type: 'module', name: 'engine' });
    worker = w;
    w.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => take(data));
    w.addEventListener('error', (event) => show({ phase: 'failed', message: event.message || 'The engine could not be started.' }));
    const prefer = localStorage.getItem('turnstone.device.prefer') === 'wasm' ? ('wasm' as const) : undefined;
    w.postMessage({ kind: 'start', id, key: key(), prefer } satisfies ToWorker);
    carrying = carry(w).catch((error: unknown) => console.warn('The pages of the conversation stay where they are:', error));
    void navigator.storage?.persist?.();
    void keepPage([new URL(workerUrl, location.href).pathname]).catch(() => {});
    return w;
  }

  /** The conversation's pages from the server into the worker's engine. What does not come is computed here. */
  async function carry(w: Worker): Promise<void> {
    const request = conversation();
    if (!request) return;
    const bytes = await fetchPages(request, key());
    const carried = await send(w, (call) => ({ kind: 'pages', call, bytes }));
    if (worker === w && state.phase === 'ready') show({ ...state, carried });
  }

  const running = (): Promise<Worker> => {
    starting ??= start();
    starting.catch(() => {
      starting = undefined;
    });
    return starting;
  };

  function stop(): void {
    worker?.terminate();
    worker = starting = carrying = undefined;
    for (const call of calls.values()) call.error(new Error('The device was turned off.'));
    calls.clear();
    show({ phase: 'off' });
  }

  /** A value that the worker sends with a call's end. */
  function send(w: Worker, make: (call: number) => ToWorker): Promise<number> {
    const call = ++last;
    return new Promise((resolve, reject) => {
      calls.set(call, { head: () => {}, bytes: () => {}, end: (value = 0) => resolve(value), error: reject });
      w.postMessage(make(call));
    });
  }

  /** `fetch`, answered by the worker. */
  async function deviceFetch(path: string, init: RequestInit = {}): Promise<Response> {
    const w = await running();
    if (init.method === 'POST') await carrying;
    const call = ++last;
    return new Promise((resolve, reject) => {
      let controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
      const abort = () => {
        calls.delete(call); // nothing that still comes is wanted
        w.postMessage({ kind: 'abort', call } satisfies ToWorker);
      };
      const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
        start: (c) => {
          controller = c;
        },
        cancel: abort,
      });
      init.signal?.addEventListener('abort', () => {
        abort();
        reject(init.signal?.reason);
      });
      calls.set(call, {
        head: (status, headers) => resolve(new Response(body, { status, headers })),
        bytes: (bytes) => controller.enqueue(bytes as Uint8Array<ArrayBuffer>),
        end: () => controller.close(),
        error(cause) {
          const error = failed(cause.message);
          reject(error);
          controller.error(error);
        },
      });
      w.postMessage({ kind: 'fetch', call, path, method: init.method ?? 'GET', body: init.body as string | undefined } satisfies ToWorker);
    });
  }

  const transport = httpTransport('', () => '', deviceFetch);
  return {
    transport: {
      models: (signal) => transport.models(signal),
      async *chat(request, signal) {
        yield* here(transport.chat(request, signal));
      },
      async *goOn(request, text, signal) {
        yield* here(transport.goOn(request, text, signal));
      },
      count: (request, signal) => transport.count(request, signal),
    },
    get: () => state,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop,
    async remove() {
      await send(await running(), (call) => ({ kind: 'remove', call }));
      stop();
      localStorage.removeItem(MODEL);
      await forgetPage();
    },
  };
}

async function* here(deltas: AsyncIterable<Delta>): AsyncGenerator<Delta> {
  for await (const delta of deltas) yield delta.type === 'open' ? { ...delta, route: HERE } : delta;
}

const PATIENCE = 10_000; // ms; the device can compute it too
const MAX_PAGES = 256 << 20; // bytes

async function fetchPages(request: ChatRequest, key: string): Promise<Uint8Array> {
  const response = await fetch('/v1/turnstone/pages', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) },
    body: JSON.stringify(request),
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of response.body ?? []) {
    size += piece.length;
    if (size > MAX_PAGES) throw new Error(`more than ${MAX_PAGES} bytes`);
    pieces.push(piece);
  }
  return new Uint8Array(await new Blob(pieces as BlobPart[]).arrayBuffer());
}

const failed = (detail: string): Problem =>
  new Problem({
    next: 'retry',
    title: 'The engine on this device could not answer.',
    advice: 'Try again, or turn “Run on this device” off in the settings.',
    detail,
  });
