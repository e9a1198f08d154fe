/**
 * `turnstone gpu-host`: the API and the accelerator's prefill contract from a runtime that has WebGPU. The engine, packs,
 * pages and answers are the Worker's; only the backend is another.
 */

import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sha256 } from '@noble/hashes/sha2.js';
import { Prefiller } from '../accelerator/prefiller.ts';
import { createService } from '../accelerator/service.ts';
import type { ModelWeights } from '../engine/index.ts';
import { DeviceLostError, openDevice } from '../kernels/webgpu/index.ts';
import { folderPack, nodeHasher } from '../models/node/files.ts';
import { createApp } from '../serving/app.ts';
import { inProcess } from '../serving/in-process.ts';
import { Responses } from '../serving/responses/memory-sessions.ts';
import { openModel, webGpuMaker } from '../serving/run/open.ts';
import { warmUp } from '../serving/run/warm-up.ts';
import { device as deviceSpec } from '../simulator/device/index.ts';
import { hostGpu } from './gpu/runtime.ts';
import { readShaders } from './gpu/shaders.ts';
import { nodeHandler } from './node-http.ts';
import { localPack } from './packs.ts';

export interface GpuHostOptions {
  /** 0 takes a free one. */
  port?: number;
  /** Anything but loopback needs the secret, for the API too. */
  host?: string;
  /** A pack folder, GGUF file or Hugging Face folder; default: the shipped model. */
  model?: string;
  format?: string;
  /** Lets Workers in at /v1/prefill; at least 16 characters. Without it that route is closed. */
  secret?: string;
  memoryBytes?: number;
  say?: (line: string) => void;
}

export interface GpuHost {
  url: string;
  adapter: string;
  stop(): Promise<void>;
}

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '::1']);
const MEMORY = 2 ** 31;
const CHUNK = 256; // tokens a pass of prefill

/** Starts the host and resolves when it listens. Rejects with what to do when there is no GPU. */
export async function startGpuHost(o: GpuHostOptions = {}): Promise<GpuHost> {
  const say = o.say ?? (() => {});
  const host = o.host ?? '127.0.0.1';
  if (!LOOPBACK.has(host) && !o.secret) throw new Error(`--host ${host} would serve other machines: give --secret first.`);
  // it is one key of the API (API_KEYS), where commas part keys and a colon a name from its key
  if (o.secret !== undefined && !/^[!-+\--9;-~]{16,}$/.test(o.secret))
    throw new Error('--secret must have 16 visible ASCII characters or more, no comma and no colon.');
  const found = hostGpu();
  if ('why' in found) throw new Error(`No WebGPU here: ${found.why}.`);
  const first = await openDevice(found.gpu);
  if (!first) throw new Error('No GPU adapter was found. A software one: apt-get install mesa-vulkan-drivers (25 or newer).');
  const pack = await localPack(o.model, say, o.format);
  const shaders = readShaders();
  const memoryBytes = o.memoryBytes ?? MEMORY;

  /** The model on a device; opened again on a new one when that was lost. */
  async function open(adapter: NonNullable<Awaited<ReturnType<typeof openDevice>>>) {
    const maker = webGpuMaker(adapter.device, { shaders, features: adapter.features });
    const rt = await openModel({ source: folderPack(pack.folder), id: pack.id, maker, memoryBytes, hasher: nodeHasher });
    const { backend, weights, config, digest } = rt.served;
    say('Compiling the kernels; on a software adapter this takes minutes the first time, its driver keeps them …');
    await warmUp(rt.engine);
    const { context, kv, pages } = rt.engine.plan;
    const prefiller = () =>
      new Prefiller({
        backend,
        config,
        weights: weights as ModelWeights, // it was opened in one piece
        kv,
        pack: digest,
        hash: sha256,
        chunk: CHUNK,
        context,
        pages,
      });
    const service =
      o.secret === undefined
        ? undefined
        : createService({
            ...{ device: deviceSpec('edge-npu'), chips: 1, secret: o.secret, hash: sha256 },
            open: async () => ({ prefiller: prefiller(), deviceUs: () => performance.now() * 1000 }),
            now: () => Date.now(),
            breathe: () => new Promise((resolve) => setTimeout(resolve, 0)),
          });
    return { rt, service };
  }

  let opened = open(first);
  const watch = (device: GPUDevice): void => {
    void device.lost.then(async ({ reason, message }) => {
      if (reason === 'destroyed') return;
      say(`The GPU was lost (${message}); loading the model again …`);
      opened = openDevice(found.gpu).then((next) => {
        if (!next) throw new DeviceLostError('The GPU was lost and no adapter is left; restart the host.');
        watch(next.device);
        return open(next);
      });
      opened.catch((error: unknown) => say(String(error)));
    });
  };
  watch(first.device);
  await opened;
  // kept in memory, and longer than a device
  const responses = new Responses(async () => (await opened).rt);

  // on loopback it answers to this machine's names, elsewhere to who has the secret
  const vars = LOOPBACK.has(host) ? { LOCAL_ONLY: '1' } : { API_KEYS: o.secret };
  const app = createApp(inProcess({ model: pack.id, runtime: async () => (await opened).rt, responses, vars }));

  async function answer(request: Request): Promise<Response> {
    if (new URL(request.url).pathname !== '/v1/prefill') return app.fetch(request);
    const { service } = await opened;
    return service
      ? service.fetch(request)
      : Response.json({ error: { message: 'This host was started without --secret.' } }, { status: 403 });
  }

  const http = createServer(nodeHandler(answer));
  await listen(http, o.port ?? 8790, host);
  const { port } = http.address() as AddressInfo;
  return {
    url: `http://${host}:${port}`,
    adapter: `${first.name} (${found.runtime})`,
    async stop() {
      responses.close();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
      (await opened).rt.engine.backend.dispose();
      first.device.destroy();
    },
  };
}

function listen(http: HttpServer, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    http.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new Error(`Port ${port} is taken; give --port another one.`) : error),
    );
    http.listen(port, host, () => resolve());
  });
}
