/** The embedder beside the server: built and started after it, so that the chat waits for nothing; whatever goes wrong, the chat goes on. */
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { type Request as MiniflareRequest, Response as MiniflareResponse } from 'miniflare';
import { MANIFEST, readEmbeddingManifest } from '../embedder/manifest.ts';
import { ApiError } from '../openai/errors.ts';
import { build, ROOT } from './build.ts';
import type { LocalPack } from './packs.ts';
import { storePack } from './store.ts';

export interface EmbedderOptions {
  /** An embedding pack's folder; default: the shipped encoder. */
  model?: string;
  /** What its isolate may hold; default 128. */
  memoryMb?: string;
  /** Opens the runtime's inspector. */
  inspect?: boolean;
  /** Where its R2 keeps the pack. */
  persist: string;
  say?: (line: string) => void;
}

export interface Embedder {
  /** Resolves with the model's name when it listens, rejects with why it does not. */
  started: Promise<string>;
  /** The service binding: forwards to the process, or answers 503 and says why. */
  fetch(request: MiniflareRequest): Promise<MiniflareResponse>;
  pid(): number | undefined;
  /** host:port of the runtime's inspector, when it was asked for. */
  inspector(): string | undefined;
  stop(): Promise<void>;
}

export const SHIPPED_ENCODER = join(ROOT, 'models/dunlin');

/** Begins when `after` has resolved. Never rejects: `started` and `fetch` tell. */
export function launchEmbedder(o: EmbedderOptions, after: Promise<unknown>): Embedder {
  const secret = randomBytes(24).toString('hex');
  const say = o.say ?? (() => {});
  let child: ChildProcess | undefined;
  let began = false;
  let stopped = false;
  let ended: string | undefined;
  let inspector: string | undefined;
  const start = async (): Promise<{ address: string; name: string }> => {
    await after;
    began = true;
    if (stopped) throw new Error('the server is stopping');
    const pack = embeddingPack(o.model);
    await build(say, ['embedder']);
    await storePack(o.persist, pack, say);
    if (stopped) throw new Error('the server is stopping');
    child = fork(join(ROOT, 'cli/embedder-process.ts'), {
      execArgv: ['--import', 'tsx'],
      env: {
        ...process.env,
        EMBED_PERSIST: o.persist,
        EMBED_MODEL_ID: pack.id,
        EMBED_SECRET: secret,
        EMBED_MEMORY_MB: o.memoryMb ?? '',
        EMBED_INSPECT: o.inspect ? '1' : '',
      },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      cwd: ROOT,
    });
    const process_ = child;
    process_.once('exit', (code, signal) => {
      ended = `its process ended with ${signal ?? code}`;
    });
    const address = await new Promise<string>((done, fail) => {
      process_.once('message', (m) => {
        const told = m as { address: string; inspector?: string };
        inspector = told.inspector;
        done(told.address);
      });
      process_.once('error', fail);
      process_.once('exit', () => fail(new Error(`${ended} before it listened`)));
    });
    return { address, name: pack.name };
  };
  const running = start();
  let up = false;
  const started = running.then((r) => {
    up = true;
    return r.name;
  });
  started.catch(() => {}); // told by whoever awaits it, and by every answer
  return {
    started,
    pid: () => child?.pid,
    inspector: () => inspector,
    async fetch(request) {
      try {
        if (!up && request.method === 'GET' && !ended) throw new Error('the embedder is starting'); // a list of models does not wait for it
        const { address } = await running;
        if (ended) throw new Error(ended);
        const { pathname } = new URL(request.url);
        const headers = { 'content-type': 'application/json', 'x-embed-secret': secret };
        const body = request.method === 'POST' ? await request.arrayBuffer() : undefined;
        const answer = await fetch(`http://${address}${pathname}`, { method: request.method, headers, body });
        const type = answer.headers.get('content-type') ?? 'application/json';
        return new MiniflareResponse(await answer.arrayBuffer(), { status: answer.status, headers: { 'content-type': type } });
      } catch (error) {
        const why = ended ?? (error instanceof Error ? error.message : String(error));
        const shown = new ApiError(503, `Embeddings are not served: ${why}.`, { code: 'embedder_not_running' });
        return new MiniflareResponse(JSON.stringify(shown.envelope()), { status: 503, headers: { 'content-type': 'application/json' } });
      }
    },
    async stop() {
      stopped = true;
      if (!began) return;
      await running.catch(() => {});
      if (!child || ended) return;
      const exited = new Promise<void>((done) => child?.once('exit', () => done()));
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** The pack to serve and its name in the API. Throws with what to do when it is none. */
function embeddingPack(model: string | undefined): LocalPack & { name: string } {
  const folder = model ? resolve(model) : SHIPPED_ENCODER;
  const manifest = join(folder, MANIFEST);
  if (!existsSync(manifest))
    throw new Error(`EMBED_MODEL=${model ?? folder}: there is no embedding pack; make one with turnstone pack model.onnx --out FOLDER`);
  const { name } = readEmbeddingManifest(readFileSync(manifest));
  return { id: basename(folder), folder, name };
}
