/** What the server's isolate keeps in memory: the part that Cloudflare's 128 MB are about. */
import { fetch, type MessageEvent } from 'miniflare';
import type { Server } from '../cli/start.ts';

const MIB = 1 << 20;

interface HeapUsage {
  usedSize: number;
  totalSize: number;
  embedderHeapUsedSize: number;
  backingStorageSize: number;
}

/** MiB of the Worker's isolate: V8's heap with its buffers, asked from the runtime's inspector, and the wasm memory. The server must have been started with `inspect`. */
export async function isolateMemory(server: Server, inUse = false): Promise<{ js: number; wasm: number }> {
  const inspector = server.inspector();
  if (!inspector) throw new Error('the server was started without its inspector');
  const ready = async () => (await globalThis.fetch(`${server.url}/ready`)).json();
  const js = await jsMemory(inspector, 'turnstone', inUse ? ready : undefined);
  const { memory } = (await ready()) as { memory: Record<string, number> };
  const wasm = memory.weights + memory.kv + memory.scratch;
  return { js, wasm: wasm / MIB };
}

/**
 * MiB of V8's heap with its buffers, of one Worker of the runtime whose inspector is at `host`. `wake`, which makes it do something: what is in
 * use alone, without garbage and the pages that V8 keeps for later; V8 collects when the isolate runs next.
 */
export async function jsMemory(host: string, worker: string, wake?: () => Promise<unknown>): Promise<number> {
  const { inUse, kept } = await heapOf(host, worker, wake);
  return wake ? inUse : kept;
}

/** MiB with buffers: what is in use, and what V8 keeps of it. With `wake` right after a collection. */
export async function heapOf(host: string, worker: string, wake?: () => Promise<unknown>): Promise<{ inUse: number; kept: number }> {
  const { webSocket } = await fetch(`http://${host}/${worker}`, { headers: { upgrade: 'websocket' } });
  if (!webSocket) throw new Error('the runtime has no inspector');
  webSocket.accept();
  try {
    let asked = 0;
    const ask = <T>(method: string) => {
      const id = ++asked;
      const answer = new Promise<T>((resolve) => {
        webSocket.addEventListener('message', (event: MessageEvent) => {
          const message = JSON.parse(String(event.data)) as { id?: number; result: T };
          if (message.id === id) resolve(message.result);
        });
      });
      webSocket.send(JSON.stringify({ id, method }));
      return answer;
    };
    if (wake) {
      let collected = false;
      const collecting = ask('HeapProfiler.collectGarbage').then(() => {
        collected = true;
      });
      while (!collected) await Promise.race([collecting, wake()]);
    }
    const heap = await ask<HeapUsage>('Runtime.getHeapUsage');
    const besides = heap.embedderHeapUsedSize + heap.backingStorageSize;
    return { inUse: (heap.usedSize + besides) / MIB, kept: (heap.totalSize + besides) / MIB };
  } finally {
    webSocket.close();
  }
}
