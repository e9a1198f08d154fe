/** The contract of the API on each of its hosts. */
import { describe } from 'vitest';
import { serve } from '../../serving/serve.ts';
import { asTenant } from '../../serving/tenant.ts';
import { contract, KEY, type Sent } from '../contract/cases.ts';
import { overHttp } from '../contract/http.ts';
import { openShipped, startHost } from '../local/host.ts';
import { missing, startTestServer } from './server.ts';

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
      const { rt, url, stop } = await startHost();
      return {
        ...{ model: rt.served.id, send: overHttp(url), stop },
        busy: async () => rt.engine.stats().running + rt.engine.stats().waiting,
      };
    },
    { keys: 'on loopback a GPU host asks no key' },
    { ...SECOND, 'is no page of another origin': ROUTER },
  );

  contract(
    'of the engine in a page',
    async () => {
      const rt = await openShipped();
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
