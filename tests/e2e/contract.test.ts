/** The contract of the API on each of its hosts. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe } from 'vitest';
import { nodeHandler } from '../../cli/node-http.ts';
import { localPack } from '../../cli/packs.ts';
import { folderPack } from '../../models/node/files.ts';
import { Responses } from '../../serving/responses/memory-sessions.ts';
import { openModel, wasmMaker } from '../../serving/run/open.ts';
import { serve } from '../../serving/serve.ts';
import { asTenant } from '../../serving/tenant.ts';
import { contract, KEY, type Sent } from '../contract/cases.ts';
import { overHttp } from '../contract/http.ts';
import { wasmModules } from '../kernels/modules.ts';
import { missing, startTestServer } from './server.ts';

const open = async () => {
  const { folder, id } = await localPack(undefined, () => {});
  return openModel({ source: folderPack(folder), id, maker: wasmMaker(wasmModules()), memoryBytes: 96 << 20 });
};

/** What serving/serve.ts, the router of the hosts that are not the Worker, lacks beside worker/app.ts. */
const ROUTER = 'a router of its own';
const SECOND: Record<string, string> = {
  'has an id of its own, one that fails too': ROUTER,
  'is data that nothing runs': ROUTER,
  'says which methods it has': ROUTER,
  "are Anthropic's messages, which are refused in their own form": ROUTER,
};

describe.skipIf(missing)('the API', () => {
  contract('of the Worker in workerd', async () => {
    const server = await startTestServer({ API_KEYS: KEY, LOCAL_ONLY: '1' });
    const send = overHttp(server.url);
    return {
      ...{ model: server.model, send },
      busy: async () => {
        const { stats } = (await (await send('/ready')).json()) as { stats: { running: number; waiting: number } };
        return stats.running + stats.waiting;
      },
      stop: () => server.stop(),
    };
  });

  contract(
    'of a GPU host, on wasm',
    async () => {
      const rt = await open();
      const responses = new Responses(async () => rt);
      const http = createServer(nodeHandler((request) => serve(rt, asTenant(request), responses), { local: true }));
      await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
      return {
        model: rt.served.id,
        send: overHttp(`http://127.0.0.1:${(http.address() as AddressInfo).port}`),
        busy: async () => rt.engine.stats().running + rt.engine.stats().waiting,
        stop: () => {
          responses.close();
          http.closeAllConnections();
          http.close();
        },
      };
    },
    { keys: 'on loopback a GPU host asks no key' },
    { ...SECOND, 'is no page of another origin': ROUTER },
  );

  contract(
    'of the engine in a page',
    async () => {
      const rt = await open();
      return {
        model: rt.served.id,
        send: (path, { method, headers, body, signal }: Sent = {}) => {
          const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
          return serve(rt, asTenant(new Request(`http://localhost${path}`, { method, headers, body: text, signal })));
        },
        busy: async () => rt.engine.stats().running + rt.engine.stats().waiting,
        stop: () => rt.engine.backend.dispose(),
      };
    },
    {
      wire: 'a page asks its own engine by messages: there is no connection',
      keys: 'a page asks no key of itself',
      stored: 'a page keeps its conversations itself',
    },
    { ...SECOND, 'is JSON and says so': 'no other origin reaches the thread that answers; the page names no type' },
  );
});
