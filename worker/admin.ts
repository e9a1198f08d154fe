/** For whoever runs the server: where the queue stands, and draining replicas for a deploy. Behind a key of its own; without one there is nothing here. */

import { Hono } from 'hono';
import { readJson } from '../durable-objects/body.ts';
import { schedulerOf } from '../durable-objects/scheduler/port.ts';
import { badRequest, notFound, unauthorized } from '../openai/errors.ts';
import { isKey } from './auth.ts';
import type { App, Env } from './env.ts';

export function admin(): Hono<App> {
  const app = new Hono<App>();
  app.use('*', async (c, next) => {
    if (!c.env.ADMIN_KEY) throw notFound('There is no administration: ADMIN_KEY is not set.');
    if (!(await isKey(c.env.ADMIN_KEY, c.req.header('authorization')))) throw unauthorized();
    await next();
  });
  app.get('/queue', async (c) => c.json(await queue(c.env).stats()));
  /** `{"replica": "0", "draining": true}`: it ends what it runs and gets nothing new. Answers how much it still runs. */
  app.post('/drain', async (c) => {
    const { replica, draining } = (await readJson(c.req.raw, 4096)) as { replica?: unknown; draining?: unknown };
    const { replicas } = await queue(c.env).stats();
    if (typeof replica !== 'string' || !replicas.some((r) => r.id === replica)) {
      throw badRequest(`'replica' must be one of ${replicas.map((r) => `"${r.id}"`).join(', ')}.`, 'replica');
    }
    if (typeof draining !== 'boolean') throw badRequest("'draining' must be true or false.", 'draining');
    return c.json({ replica, draining, running: await queue(c.env).drain(replica, draining) });
  });
  return app;
}

function queue({ SCHEDULER }: Env) {
  if (!SCHEDULER) throw notFound('This server has no queue.');
  return schedulerOf({ SCHEDULER });
}
