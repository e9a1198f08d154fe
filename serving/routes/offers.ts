/** `/admin/models`: models of the hub that may be brought here, and how far those are that are being brought. The launcher does it. */

import type { Context, Hono } from 'hono';
import { notFound } from '../../openai/errors.ts';
import { isOn } from '../../policy/settings.ts';
import { readJson } from '../body.ts';
import type { App, Host, Service } from '../host.ts';

/** A server that answers to its own machine alone needs no key for it, unless a page of another origin asks. */
export function fromHere(c: Context<App>): boolean {
  const origin = c.req.header('origin');
  return isOn('LOCAL_ONLY', c.env.vars) && (origin === undefined || origin === new URL(c.req.url).origin);
}

export function offers(app: Hono<App>): void {
  app.get('/models', async (c) => c.json(await (await theLauncher(c.env).fetch('http://launcher/offers')).json()));
  for (const what of ['pull', 'cancel', 'adapters/load', 'adapters/unload']) {
    app.post(`/models/${what}`, async (c) => {
      const body = JSON.stringify(await readJson(c.req.raw, 4096));
      const headers = { 'content-type': 'application/json' };
      const answer = await theLauncher(c.env).fetch(`http://launcher/${what}`, { method: 'POST', headers, body });
      return new Response(answer.body, answer);
    });
  }
}

function theLauncher({ launcher }: Host): Service {
  if (!launcher) throw notFound('Models are not brought by this server.');
  return launcher;
}
