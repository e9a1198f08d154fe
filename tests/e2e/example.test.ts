import { build } from 'esbuild';
import { Miniflare } from 'miniflare';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missing, startTestServer } from './server.ts';

describe.skipIf(missing)('examples/caller', () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  let caller: Miniflare;
  beforeAll(async () => {
    server = await startTestServer({ PUBLIC: '1' }); // a binding gives the host a name of its own
    const bundle = await build({ entryPoints: ['examples/caller/index.ts'], bundle: true, format: 'esm', write: false });
    caller = new Miniflare({
      modules: true,
      script: bundle.outputFiles[0].text,
      compatibilityDate: '2026-04-01',
      cf: false,
      serviceBindings: { TURNSTONE: { external: { address: new URL(server.url).host, http: {} } } },
    });
  });
  afterAll(async () => {
    await caller.dispose();
    await server.stop();
  });

  it('streams the text of an answer', async () => {
    const url = await caller.ready;
    const direct = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: server.model, temperature: 0, messages: [{ role: 'user', content: 'Who are you?' }] }),
    });
    expect(direct.ok).toBe(true);
    const r = await fetch(new URL('/?q=Who%20are%20you%3F', url));
    expect(r.status).toBe(200);
    expect((await r.text()).length).toBeGreaterThan(3);
  });
});
