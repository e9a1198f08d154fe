/** The contract of the API on each of its hosts. */
import { describe } from 'vitest';
import { contract, KEY } from '../contract/cases.ts';
import { overHttp } from '../contract/http.ts';
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
});
