/** The programs of the docs that ask a server, run as they stand there. Those that need more than a GPU host has are in tests/e2e. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { programsOf, runProgram } from '../docs.ts';
import { startHost } from './host.ts';

describe('programs in the docs', () => {
  let host: Awaited<ReturnType<typeof startHost>>;
  beforeAll(async () => {
    host = await startHost();
  });
  afterAll(() => host?.stop());

  const [hono, sdk] = programsOf('docs/integrations.md');
  const [ollama] = programsOf('docs/clients.md');
  const [helpers] = programsOf('docs/api.md');
  it.concurrent.each([
    ['Hono', hono, /"delta":.*data: \[DONE\]/s],
    ['the AI SDK', sdk, /"type":"text-delta".*"type":"finish"/s],
    ['Ollama’s client', ollama, /2 \+ 3 = \d/],
    // what an answer cost is told by a Worker: tests/e2e/clients.test.ts
    ['helpers for the extensions', helpers, /2 \+ 3 = \d.* [\d.]+ undefined\n.+\n\d tokens\n$/s],
  ])('%s', async (_, code, printed) => expect(await runProgram(code, host.url)).toMatch(printed));
});
