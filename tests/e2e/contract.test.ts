/** The contract of the API on each of its hosts. */
import { describe } from 'vitest';
import { coreApp, onHost } from '../../serving/core.ts';
import { inProcess } from '../../serving/in-process.ts';
import { contract, KEY, type Sent } from '../contract/cases.ts';
import { overHttp } from '../contract/http.ts';
import { openShipped, startHost } from '../local/host.ts';
import { missing, startTestServer } from './server.ts';

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

  contract('of a GPU host, on wasm', async () => {
    const { rt, url, stop } = await startHost({ API_KEYS: KEY, LOCAL_ONLY: '1' });
    return {
      ...{ model: rt.served.id, send: overHttp(url), stop },
      busy: async () => rt.engine.stats().running + rt.engine.stats().waiting,
    };
  });

  contract(
    'of the engine in a page',
    async () => {
      const rt = await openShipped();
      const app = onHost(coreApp(), inProcess({ model: rt.served.id, runtime: async () => rt, vars: { PUBLIC: '1' } })); // as web/src/device/host.ts
      return {
        model: rt.served.id,
        send: (path, { method, headers, body, signal }: Sent = {}) => {
          const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
          return app.fetch(new Request(`http://localhost${path}`, { method, headers, body: text, signal }));
        },
        busy: async () => rt.engine.stats().running + rt.engine.stats().waiting,
        stop: () => rt.engine.backend.dispose(),
      };
    },
    {
      wire: 'a page asks its own engine by messages: there is no connection',
      keys: 'a page asks no key of itself',
      stored: 'a page keeps its conversations itself',
      formats: 'a page asks its own engine for chats and completions',
    },
  );
});
