/** A GPU host on this machine's adapter: the API's own answers, and a Worker whose prefill it computes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { hostGpu } from '../../cli/gpu/runtime.ts';
import { type GpuHost, startGpuHost } from '../../cli/gpu-host.ts';
import { type Server, startServer } from '../../cli/start.ts';
import { openDevice } from '../../kernels/webgpu/index.ts';
import { reason } from '../webgpu/require.ts';
import { GAP } from '../webgpu/tolerance.ts';

const found = hostGpu();
const adapter = 'gpu' in found ? await openDevice(found.gpu) : null;
const why = reason('why' in found ? found.why : adapter ? undefined : 'no adapter found');
adapter?.device.destroy();

const SLOW = 390_000; // ms
interface Token {
  token: string;
  logprob: number;
  top_logprobs: { token: string; logprob: number }[];
}
const SECRET = 'a secret of the test alone';

describe.skipIf(why)('turnstone gpu-host', () => {
  const persist = mkdtempSync(join(tmpdir(), 'turnstone-gpu-'));
  let host: GpuHost | undefined;
  const servers: Server[] = [];
  afterAll(async () => {
    for (const s of servers) await s.stop();
    await host?.stop();
    rmSync(persist, { recursive: true, force: true });
  });

  const question = Array.from({ length: 8 }, (_, i) => `Tom has ${i + 2} apples and Ann has ${i + 5} more.`).join(' ');
  const ask = async (url: string) => {
    const body = {
      model: 'pebble',
      messages: [{ role: 'user', content: question }],
      temperature: 0,
      max_tokens: 16,
      logprobs: true,
      top_logprobs: 10,
      explain: true,
    };
    const r = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
    const answer = (await r.json()) as {
      choices: { logprobs: { content: Token[] } }[];
      error?: unknown;
      turnstone?: { route: { place: string; why: string; bytes: number } };
    };
    expect(answer.error).toBeUndefined();
    return { tokens: answer.choices[0].logprobs.content, route: answer.turnstone?.route };
  };
  /** The same tokens, or parted where wasm finds the two as good as each other. */
  const agree = (got: Token[], want: Token[]) => {
    const at = want.findIndex((t, i) => t.token !== got[i]?.token);
    if (at < 0) return;
    const other = want[at].top_logprobs.find((t) => t.token === got[at].token);
    console.log(`parts at token ${at}`);
    expect(want[at].logprob - (other?.logprob ?? Number.NEGATIVE_INFINITY)).toBeLessThan(GAP);
  };

  it('answers like the Worker, and computes its prefill', { timeout: SLOW }, async () => {
    host = await startGpuHost({ port: 0, secret: SECRET });
    console.log(`gpu-host on ${host.adapter}`);
    const own = await ask(host.url);
    const plain = await startServer({ port: 0, persist: join(persist, 'a') });
    servers.push(plain);
    const local = await ask(plain.url);
    const gpu = { NPU_URL: host.url, NPU_SECRET: SECRET, NPU_NUMERICS: 'webgpu-1', NPU_ROUTE: 'npu', NPU_WAIT_MS: '300000' };
    const aided = await startServer({ port: 0, persist: join(persist, 'b'), vars: gpu });
    servers.push(aided);
    const sent = await ask(aided.url);
    console.log('route:', sent.route);
    expect(sent.route).toMatchObject({ place: 'npu', why: 'forced' });
    expect(sent.route?.bytes).toBeGreaterThan(0);
    expect(local.tokens.length).toBeGreaterThan(2);
    agree(sent.tokens, local.tokens);
    agree(own.tokens, local.tokens);
  });

  it('keeps /v1/prefill closed without its secret', { timeout: SLOW }, async () => {
    const r = await fetch(`${host?.url}/v1/prefill`, { method: 'POST', body: 'x' });
    expect(r.status).toBe(401);
  });
});
