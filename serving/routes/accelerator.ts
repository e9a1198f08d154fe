/** What the accelerator can tell about itself: its last prompt, and simulations of others (docs/npu-protocol.md). */
import type { Context } from 'hono';
import { Hono } from 'hono/tiny';
import { notFound } from '../../openai/errors.ts';
import { errand } from '../admission.ts';
import { readJson } from '../body.ts';
import type { App } from '../host.ts';

const MAX_SIMULATE = 65_536; // bytes of a request

/** `/v1/npu/*`. */
export function accelerator(): Hono<App> {
  const app = new Hono<App>();
  app.get('/device', (c) => ask(c, '/v1/device'));
  app.get('/report', (c) => ask(c, '/v1/report'));
  app.get('/trace', (c) => ask(c, '/v1/trace'));
  app.post('/simulate', async (c) => {
    const body = JSON.stringify(await readJson(c.req.raw, MAX_SIMULATE));
    return errand(c, 'simulate', body.length, () => ask(c, '/v1/simulate', body));
  });
  return app;
}

async function ask(c: Context<App>, path: string, body?: string): Promise<Response> {
  const { accelerator } = c.env;
  if (!accelerator) throw notFound('No accelerator is bound to this server.');
  const headers = { 'content-type': 'application/json' };
  const answer = await accelerator.fetch(`https://npu${path}`, { method: body === undefined ? 'GET' : 'POST', headers, body });
  return new Response(answer.body, {
    status: answer.status,
    headers: { 'content-type': answer.headers.get('content-type') ?? 'application/json', 'cache-control': 'no-store' },
  });
}
