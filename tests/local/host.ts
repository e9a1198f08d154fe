/** An engine of the shipped model on wasm behind the second router, over HTTP, as a GPU host has it. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { nodeHandler } from '../../cli/node-http.ts';
import { localPack } from '../../cli/packs.ts';
import { folderPack } from '../../models/node/files.ts';
import { Responses } from '../../serving/responses/memory-sessions.ts';
import { openModel, wasmMaker } from '../../serving/run/open.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import { serve } from '../../serving/serve.ts';
import { asTenant } from '../../serving/tenant.ts';
import { wasmModules } from '../kernels/modules.ts';

export async function openShipped(): Promise<Runtime> {
  const { folder, id } = await localPack(undefined, () => {});
  return openModel({ source: folderPack(folder), id, maker: wasmMaker(wasmModules()), memoryBytes: 96 << 20 });
}

export async function startHost(): Promise<{ rt: Runtime; url: string; stop(): void }> {
  const rt = await openShipped();
  const responses = new Responses(async () => rt);
  const http = createServer(nodeHandler((request) => serve(rt, asTenant(request), responses), { local: true }));
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
