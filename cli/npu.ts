/** The simulated accelerator beside the server, in a process of its own: a computation there must not block the replicas' thread. */
import { renameSync } from 'node:fs';
import { createServer } from 'node:http';
import { STATE } from '../serving/host.ts';
import { nodeHandler } from './node-http.ts';
import type { LocalPack } from './packs.ts';
import { serviceConfig, type Vars } from './workerd/config.ts';
import { fetchSocket } from './workerd/fetch.ts';
import type { Home } from './workerd/home.ts';
import { Kept } from './workerd/keep.ts';
import { onDemand } from './workerd/on-demand.ts';
import { startWorkerd } from './workerd/process.ts';

export interface Npu {
  /** As workerd writes it: `unix:` and a path, or host:port of one that was given. */
  address: string;
  /** Whoever asks it must present this. */
  secret: string;
  pid(): number | undefined;
  stop(): Promise<void>;
}

export interface NpuStart {
  home: Home;
  pack: LocalPack;
  vars: Vars & { NPU_SECRET: string };
  say: (line: string) => void;
  /** It starts when it is first asked to compute; what must be built for it is built when this has resolved. Without it, it starts now. */
  later?: Promise<unknown>;
}

/** Resolves when something listens at its address. */
export async function startNpu({ home, pack, vars, say, later }: NpuStart): Promise<Npu> {
  const { sockets, guard } = home;
  const path = sockets.path('npu');
  // of what is built only then
  const config = () =>
    serviceConfig({
      ...{ folder: 'accelerator', pack, vars: { NPU_DEVICE: 'maia-200', ...vars, MODEL_ID: pack.id } },
      address: sockets.address('npu-own'),
    });
  const kept = new Kept({
    name: 'the accelerator',
    say,
    async start() {
      const process = await startWorkerd({ config: config(), guard });
      renameSync(sockets.path('npu-own'), path); // from now on nobody is between
      return process;
    },
  });
  const start = onDemand('accelerator', later ?? Promise.resolve(), say, () => kept.start());
  const front = createServer(nodeHandler((request) => answer(request)));
  if (later) await new Promise<void>((done, fail) => front.once('error', fail).listen(path, done));
  else await start.run();

  /** Until it runs, this process listens in its place, and passes on what starts it. */
  async function answer(request: Request): Promise<Response> {
    const told = (status: number, message: string) =>
      Response.json({ error: { message } }, { status, headers: { [STATE]: start.begun ? 'starting' : 'not started' } });
    const authorization = request.headers.get('authorization') ?? '';
    if (authorization !== `Bearer ${vars.NPU_SECRET}`) return told(401, 'The accelerator has another secret.');
    const { pathname } = new URL(request.url);
    if (!start.done && (request.headers.has(STATE) || pathname === '/v1/report' || pathname === '/v1/trace'))
      return told(404, 'The accelerator is not started: the first prompt that is sent to it starts it.');
    const body = request.method === 'POST' ? await request.arrayBuffer() : undefined;
    try {
      await start.run();
      const headers = { authorization, 'content-type': request.headers.get('content-type') ?? 'application/octet-stream' };
      return await fetchSocket(path, `http://npu${pathname}`, { method: request.method, headers, body, signal: request.signal });
    } catch (error) {
      return told(503, `The accelerator does not start: ${error instanceof Error ? error.message : error}.`);
    }
  }

  return {
    ...{ address: sockets.address('npu'), secret: vars.NPU_SECRET },
    pid: () => kept.process?.pid,
    async stop() {
      await start.stop();
      await kept.stop();
      front.close().closeAllConnections(); // after all: it takes its path with it
    },
  };
}
