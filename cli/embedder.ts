/** The embedder beside the server: started by the first text that is to be embedded; whatever goes wrong, the chat goes on. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { describeEmbedder, type EmbeddingManifest, MANIFEST, readEmbeddingManifest } from '../embedder/manifest.ts';
import { ApiError } from '../openai/errors.ts';
import { STATE } from '../serving/host.ts';
import { ROOT } from './build.ts';
import type { LocalPack } from './packs.ts';
import { serviceConfig } from './workerd/config.ts';
import { fetchSocket } from './workerd/fetch.ts';
import type { Home } from './workerd/home.ts';
import { Kept } from './workerd/keep.ts';
import { onDemand } from './workerd/on-demand.ts';
import { startWorkerd } from './workerd/process.ts';

export interface EmbedderOptions {
  /** An embedding pack's folder; default: the shipped encoder. */
  model?: string;
  /** What its isolate may hold; default 128. */
  memoryMb?: string;
  /** Opens the runtime's inspector. */
  inspect?: boolean;
  say?: (line: string) => void;
}

export interface Embedder {
  /** Starts it where it does not run yet. Resolves with the model's name when it listens, rejects with why it does not. */
  start(): Promise<string>;
  /** Asks its process, which the first text starts, or answers 503 and says why. */
  fetch(request: Request): Promise<Response>;
  pid(): number | undefined;
  /** host:port of the runtime's inspector, when it was asked for. */
  inspector(): string | undefined;
  stop(): Promise<void>;
}

export const SHIPPED_ENCODER = join(ROOT, 'models/dunlin');

/** Starts nothing yet. What must be built for it is built when `after` has resolved, so that the first who asks does not wait for that. */
export function launchEmbedder(home: Home, o: EmbedderOptions, after: Promise<unknown>): Embedder {
  const secret = randomBytes(24).toString('hex');
  const say = o.say ?? (() => {});
  const socket = home.sockets.path('embedder');
  let kept: Kept | undefined;
  let lost: string | undefined;
  const start = onDemand('embedder', after, say, async () => {
    const pack = embeddingPack(o.model);
    const vars = { EMBED_MODEL_ID: pack.id, EMBED_SECRET: secret, EMBED_MEMORY_MB: o.memoryMb ?? '' };
    const config = serviceConfig({ folder: 'embedder', pack, vars, address: home.sockets.address('embedder') });
    kept = new Kept({
      name: 'the embedder',
      say,
      start: () => startWorkerd({ config, guard: home.guard, inspect: o.inspect }),
      gaveUp: (error) => {
        lost = error.message;
      },
    });
    await kept.start();
    return pack.name;
  });

  return {
    start: () => start.run(),
    pid: () => kept?.process?.pid,
    inspector: () => (o.inspect && kept?.process ? `127.0.0.1:${kept.process.ports.get('inspector')}` : undefined),
    async fetch(request) {
      try {
        if (!start.done && request.method === 'GET') {
          const { manifest } = embeddingPack(o.model);
          return Response.json(describeEmbedder(manifest), { headers: { [STATE]: start.begun ? 'starting' : 'not started' } });
        }
        await start.run();
        if (!kept?.running) throw new Error(lost ?? 'its process has ended and is being started again');
        const { pathname } = new URL(request.url);
        const headers = { 'content-type': 'application/json', 'x-embed-secret': secret };
        const body = request.method === 'POST' ? await request.arrayBuffer() : undefined;
        return await fetchSocket(socket, `http://embedder${pathname}`, { method: request.method, headers, body, signal: request.signal });
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        const shown = new ApiError(503, `Embeddings are not served: ${why}.`, {
          code: 'embedder_not_running',
          headers: { 'retry-after': '1' },
        });
        return Response.json(shown.envelope(), { status: 503, headers: shown.headers });
      }
    },
    async stop() {
      await start.stop();
      await kept?.stop();
    },
  };
}

/** The pack to serve and its name in the API. Throws with what to do when it is none. */
export function embeddingPack(model: string | undefined): LocalPack & { name: string; manifest: EmbeddingManifest } {
  const folder = model ? resolve(model) : SHIPPED_ENCODER;
  const manifest = join(folder, MANIFEST);
  if (!existsSync(manifest))
    throw new Error(`EMBED_MODEL=${model ?? folder}: there is no embedding pack; make one with turnstone pack model.onnx --out FOLDER`);
  const read = readEmbeddingManifest(readFileSync(manifest));
  return { id: basename(folder), folder, name: read.name, manifest: read };
}
