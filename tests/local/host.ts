/** An engine of the shipped model on wasm behind the API, over HTTP, as a GPU host has it. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { nodeHandler } from '../../cli/node-http.ts';
import { localPack } from '../../cli/packs.ts';
import { folderPack } from '../../models/node/files.ts';
import type { Variables } from '../../policy/settings.ts';
import { createApp } from '../../serving/app.ts';
import { inProcess } from '../../serving/in-process.ts';
import { Responses } from '../../serving/responses/memory-sessions.ts';
import { openModel, wasmMaker } from '../../serving/run/open.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import { wasmModules } from '../kernels/modules.ts';

export async function openShipped(): Promise<Runtime> {
  const { folder, id } = await localPack(undefined, () => {});
  return openModel({ source: folderPack(folder), id, maker: wasmMaker(wasmModules()), memoryBytes: 96 << 20 });
}

/** The API on an engine of this process. */
export const appOf = (rt: Runtime, responses?: Responses, vars: Variables = { PUBLIC: '1' }) =>
  createApp(inProcess({ model: rt.served.id, runtime: async () => rt, responses, vars }));

/** A request with a body of JSON; GET without one. */
export const requestTo = (path: string, body?: unknown, headers: Record<string, string> = {}): Request =>
  new Request(`http://localhost${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
  });

export async function startHost(vars: Variables = { LOCAL_ONLY: '1' }): Promise<{ rt: Runtime; url: string; stop(): void }> {
  const rt = await openShipped();
  const responses = new Responses(async () => rt);
  const http = createServer(nodeHandler(appOf(rt, responses, vars).fetch));
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return {
    rt,
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    stop() {
      responses.close();
      http.closeAllConnections();
      http.close();
    },
  };
}
