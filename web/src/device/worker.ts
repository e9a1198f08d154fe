/** The engine's thread: takes requests as the server would and streams its answers back. */
import relaxedUrl from '../../../.build/wasm/turnstone-relaxed.wasm?url';
import simdUrl from '../../../.build/wasm/turnstone-simd.wasm?url';
import { detectRelaxed } from '../../../kernels/wasm/index.ts';
import { Host } from './host.ts';
import type { FromWorker, ToWorker } from './messages.ts';
import { PAGE_CACHE } from './offline.ts';
import { importConversation } from './pages.ts';
import { removePacks } from './store.ts';

const say = (message: FromWorker, transfer: Transferable[] = []) => self.postMessage(message, { transfer });
const calls = new Map<number, AbortController>();
let host: Host | undefined;

async function module(url: string): Promise<WebAssembly.Module> {
  return WebAssembly.compile(await (await fetch(url)).arrayBuffer());
}

async function answer(m: Extract<ToWorker, { kind: 'fetch' }>): Promise<void> {
  if (!host) throw new Error('The device was asked before it was started.');
  const abort = new AbortController();
  calls.set(m.call, abort);
  const headers = { 'content-type': 'application/json' };
  const request = new Request(new URL(m.path, location.origin), { method: m.method, headers, body: m.body, signal: abort.signal });
  const response = await host.fetch(request);
  say({ kind: 'head', call: m.call, status: response.status, headers: [...response.headers] });
  const reader = response.body?.getReader();
  abort.signal.addEventListener('abort', () => void reader?.cancel());
  for (let r = await reader?.read(); r && !r.done; r = await reader?.read()) say({ kind: 'bytes', call: m.call, bytes: r.value });
  say({ kind: 'end', call: m.call });
}

async function handle(m: ToWorker): Promise<void> {
  switch (m.kind) {
    case 'start':
      host = new Host({
        url: new URL(`/packs/${encodeURIComponent(m.id)}/`, location.origin).href,
        id: m.id,
        key: m.key,
        prefer: m.prefer,
        wasm: async () => ({ simd: await module(simdUrl), relaxed: detectRelaxed() ? await module(relaxedUrl) : undefined }),
        say: (state) => say({ kind: 'state', state }),
      });
      void caches.open(PAGE_CACHE).then(
        (c) => c.addAll([simdUrl, relaxedUrl]),
        () => {},
      );
      return;
    case 'fetch':
      return answer(m).finally(() => calls.delete(m.call));
    case 'abort':
      calls.get(m.call)?.abort();
      return;
    case 'pages':
      return say({ kind: 'end', call: m.call, value: importConversation(await (host as Host).open(), m.bytes) });
    case 'remove':
      await removePacks();
      return say({ kind: 'end', call: m.call });
  }
}

self.addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  handle(data).catch((error: unknown) => {
    if ('call' in data) say({ kind: 'error', call: data.call, message: error instanceof Error ? error.message : String(error) });
  });
});
