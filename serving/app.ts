/** The app of a server: the routes of every host, and those that only a server has. */
import { openApi } from '../openai/openapi/document.ts';
import { isOn } from '../policy/settings.ts';
import { requireKey } from './auth.ts';
import { clientRoutes } from './clients.ts';
import { coreApp, onHost } from './core.ts';
import type { Host } from './host.ts';
import { accelerator } from './routes/accelerator.ts';
import { admin } from './routes/admin.ts';
import { batches, files } from './routes/batches.ts';
import { conversations } from './routes/conversations.ts';
import { servePack } from './routes/packs.ts';

/** The same for every host: it is built once. */
const app = coreApp((app) => {
  clientRoutes(app);
  app.get('/openapi.json', (c) => c.json(openApi()));
  app.route('/v1/files', files());
  app.route('/v1/batches', batches());
  app.route('/v1/conversations', conversations());
  app.route('/admin', admin());
  app.route('/v1/npu', accelerator());

  app.use('/packs/*', (c, next) => (isOn('PUBLIC_PACKS', c.env.vars) ? next() : requireKey(c, next)));
  app.get('/packs/:key{.+}', (c) => servePack(c, c.req.param('key')));
});

/** The API on a host. */
export const createApp = (host: Host) => onHost(app, host);

/** What is served, as `METHOD /path/{name}`, the catch-alls left out. */
export const routePaths = (): string[] =>
  app.routes
    .filter((r) => /^(GET|POST|DELETE)$/.test(r.method) && !r.path.includes('*'))
    .map((r) => `${r.method} ${r.path.replace(/:(\w+)(\{[^}]*\})?/g, '{$1}')}`);
