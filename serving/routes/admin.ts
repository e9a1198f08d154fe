/** For whoever runs the server: where the queue stands, draining replicas for a deploy, erasing a tenant. Behind a key of its own; without one there is nothing here. */

import { Hono } from 'hono/tiny';
import { badRequest, notFound, unauthorized } from '../../openai/errors.ts';
import { cellOf, cellOfReplica, cellsOf } from '../../policy/cells.ts';
import { isKey, tenantNamed } from '../auth.ts';
import { readJson } from '../body.ts';
import type { App, Host } from '../host.ts';
import { modelNames } from '../models.ts';
import { again } from '../retry.ts';
import { fromHere, offers } from './offers.ts';

export function admin(): Hono<App> {
  const app = new Hono<App>();
  app.use('*', async (c, next) => {
    if (c.req.path.startsWith('/admin/models') && fromHere(c)) return next();
    const { ADMIN_KEY } = c.env.vars;
    if (!ADMIN_KEY) throw notFound('There is no administration: ADMIN_KEY is not set.');
    if (!(await isKey(ADMIN_KEY, c.req.header('authorization')))) throw unauthorized();
    await next();
  });
  /** `?cell=`: of that one, where there are several. */
  app.get('/queue', async (c) => {
    const cell = Number(c.req.query('cell') ?? 0);
    const cells = cellsOf(c.env.vars);
    if (!Number.isInteger(cell) || cell < 0 || cell >= cells) throw badRequest(`'cell' must be an integer in 0..${cells - 1}.`, 'cell');
    return c.json({ ...(await queue(c.env, undefined, cell).stats()), ...(cells > 1 && { cell, cells }) });
  });
  /** `{"replica": "0", "draining": true}`: it ends what it runs and gets nothing new. Answers how much it still runs. */
  app.post('/drain', async (c) => {
    const { replica, draining } = (await readJson(c.req.raw, 4096)) as { replica?: unknown; draining?: unknown };
    const of = cellOfReplica(String(replica), c.env.vars);
    const { replicas } = await queue(c.env, undefined, of).stats();
    if (typeof replica !== 'string' || !replicas.some((r) => r.id === replica)) {
      throw badRequest(`'replica' must be one of ${replicas.map((r) => `"${r.id}"`).join(', ')}.`, 'replica');
    }
    if (typeof draining !== 'boolean') throw badRequest("'draining' must be true or false.", 'draining');
    return c.json({ replica, draining, running: await queue(c.env, undefined, of).drain(replica, draining) });
  });
  app.delete('/tenants/:name', async (c) => {
    const { name } = c.req.param();
    const erased = await eraseTenant(c.env, AS_IT_IS.test(name) ? name : await tenantNamed(name));
    return c.json({ tenant: name, ...erased }, erased.left > 0 ? 202 : 200);
  });
  offers(app);
  return app;
}

/** Not a name in API_KEYS: those without a key, and a tenant as `/admin/queue` shows it. */
const AS_IT_IS = /^(public|[0-9a-f]{32})$/;
/** Sessions are erased for so long by one request. */
const ERASE_MS = 20_000;

/**
 * Ends what a tenant's requests do, and erases what is kept of it: sessions with their responses and pages, its account in each queue,
 * its files and batches, and the pages that replicas keep in memory. `left`: sessions that are still there; ask again.
 */
async function eraseTenant(host: Host, tenant: string): Promise<{ sessions: number; requests: number; left: number }> {
  const { sessionsOf, clock } = host;
  if (!sessionsOf) throw notFound('This server keeps no lists of sessions: bind TENANT (wrangler.toml).');
  const models = await modelNames(host);
  const total = { sessions: 0, requests: 0, left: 0 };
  // who has no name is in every cell
  const cells = tenant === 'public' ? Array.from({ length: cellsOf(host.vars) }, (_, i) => i) : [cellOf(tenant, '', host.vars)];
  const all = models.flatMap((model) => cells.map((cell) => ({ model, cell })));
  const queues = async () => {
    for (const { model, cell } of all) {
      const { waiting, running } = await again(() => queue(host, model, cell).erase(tenant));
      total.requests += waiting + running;
    }
  };
  const sessions = async () => {
    const late = clock.now() + ERASE_MS;
    do {
      const { sessions, left } = await sessionsOf(tenant).erase();
      total.sessions += sessions;
      total.left = left;
    } while (total.left > 0 && clock.now() < late);
  };
  await queues();
  await sessions();
  await Promise.all(
    all.map(async ({ model, cell }) => {
      for (const r of (await queue(host, model, cell).stats()).replicas) {
        if (r.absent) continue; // it has lost its memory already
        const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ tenant }) };
        await host.replica(r.id, model).fetch('https://replica/forget', init);
      }
    }),
  );
  await host.batches?.(tenant).erase();
  // what ran has stored its last tokens and pages meanwhile
  await sessions();
  await queues();
  return total;
}

function queue({ queue }: Host, model?: string, cell?: number) {
  if (!queue) throw notFound('This server has no queue.');
  return queue(model, cell);
}
