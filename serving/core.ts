/** What every host serves: who may ask, what they may ask, and where it goes. A page asks its own engine for nothing else; clients.ts and app.ts add the rest. */

import type { Context, ExecutionContext, MiddlewareHandler } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { methodNotAllowed as checkMethods } from 'hono/method-not-allowed';
import { TrieRouter } from 'hono/router/trie-router';
import { Hono } from 'hono/tiny';
import { ApiError, methodNotAllowed, modelNotFound, notFound } from '../openai/errors.ts';
import { parseChat } from '../openai/requests/chat.ts';
import { parseCompletion } from '../openai/requests/completion.ts';
import { parseApplyTemplate, parseDetokenize, parseTokenize } from '../openai/requests/tokenize.ts';
import type { ChatRequest, CompletionRequest, DetokenizeRequest, TokenizeRequest } from '../openai/requests/types.ts';
import { version } from '../package.json';
import { faultsOfWorker } from '../policy/settings.ts';
import { errand } from './admission.ts';
import { requireKey } from './auth.ts';
import { readJson } from './body.ts';
import { errorResponse, OLLAMA } from './forms.ts';
import type { App, Host } from './host.ts';
import { idempotencyKey, seeded } from './idempotency.ts';
import { logRequests } from './log.ts';
import { callReplica, generateOn, pagesOn } from './replica.ts';
import { conversationBytes, maxBodyBytes } from './room.ts';
import { metrics } from './routes/metrics.ts';
import { models, withModel } from './routes/models.ts';
import { ready } from './routes/ready.ts';
import { PAGES_PATH } from './run/conversation.ts';
import { allows, answersAreData, apiCors, loopbackOnly, noCors, originsOf } from './security.ts';
import { traceRequests } from './trace/request.ts';

/** Routes that carry a checked body to the replica, under the same path there. */
const POSTS: Record<string, (body: unknown) => ChatRequest | CompletionRequest | TokenizeRequest | DetokenizeRequest> = {
  '/v1/chat/completions': parseChat,
  '/v1/completions': parseCompletion,
  '/v1/tokenize': parseTokenize,
  '/v1/apply-template': parseApplyTemplate,
  '/v1/detokenize': parseDetokenize,
};

/** Where the API is; elsewhere are the page's files. */
const API = /^\/(v1|api|admin|packs|health|ready|metrics|openapi\.json)(\/|$)/;

/** Work that goes on after its answer, where a request has no context that keeps it alive. */
const NO_CONTEXT = { waitUntil: (work: Promise<unknown>) => void work.catch(() => {}), passThroughOnException() {}, props: {} };

/** An app on a host. `context`: what keeps work alive that goes on after its answer. */
export const onHost = (app: Hono<App>, host: Host) => ({
  fetch: async (request: Request, context: Pick<ExecutionContext, 'waitUntil'> = NO_CONTEXT): Promise<Response> =>
    app.fetch(request, host, { ...NO_CONTEXT, waitUntil: (work) => context.waitUntil(work) }),
});

/** The routes of every host, and more before what catches the rest. */
export function coreApp(more: (app: Hono<App>) => void = () => {}): Hono<App> {
  const app = new Hono<App>({ router: new TrieRouter() }); // the one that method-not-allowed brings anyway
  app.onError((error, c) => failed(c, error instanceof HTTPException ? new ApiError(error.status, error.message) : error));
  app.notFound((c) => failed(c, notFound(`There is nothing at ${c.req.method} ${c.req.path.slice(0, 128)}.`)));

  app.use(requestId, rightSettings, traceRequests, logRequests, answersAreData, loopbackOnly, crossOrigin, oneSpelling);
  app.use(
    checkMethods({
      app,
      onMethodNotAllowed: (c, methods) => failed(c, methodNotAllowed(c.req.method, c.req.path, methods.join(', '))),
    }),
  );
  app.use('/v1/*', requireKey);
  app.use(`${OLLAMA}/*`, requireKey);
  app.use('/metrics', requireKey);

  app.get('/health', (c) => c.json({ status: 'ok', version }));
  app.get('/ready', ready);
  app.get('/metrics', metrics);

  app.get('/v1/models', (c) => models(c, (data) => c.json({ object: 'list', data })));
  app.get('/v1/models/:id{.+}', (c) =>
    models(c, (data) => {
      const id = c.req.param('id');
      const model = data.find((m) => m.id === id);
      if (!model) throw modelNotFound(id);
      return c.json(model);
    }),
  );

  for (const [path, parse] of Object.entries(POSTS)) {
    app.post(path, async (c) => {
      const most = parse === parseChat ? conversationBytes(c.env) : maxBodyBytes(c.env);
      const request = await withModel(c, parse(await readJson(c.req.raw, most)));
      if (request.kind === 'chat' || request.kind === 'completion') {
        return generateOn(c, path, seeded(request, c.get('tenant'), idempotencyKey(c.req.raw)));
      }
      return errand(c, 'tokenize', JSON.stringify(request).length, () => callReplica(c, path, request));
    });
  }

  app.post(PAGES_PATH, async (c) => {
    const request = await withModel(c, parseChat(await readJson(c.req.raw, conversationBytes(c.env))));
    return pagesOn(c, PAGES_PATH, request);
  });

  more(app);

  app.all('/v1/*', (c) => c.notFound());
  app.all(`${OLLAMA}/*`, (c) => c.notFound());
  app.all('*', async (c) => {
    if (!c.env.assets || !/^(GET|HEAD)$/.test(c.req.method)) return c.notFound();
    const asset = await c.env.assets.fetch(c.req.raw);
    // a client that left out /v1 gets the envelope, a person a page
    if (asset.status === 404 && !c.req.header('accept')?.includes('text/html')) return c.notFound();
    return new Response(asset.body, asset); // its own headers cannot be added to
  });
  return app;
}

const failed = (c: Context<App>, error: unknown): Response => errorResponse(c.req.path, error);

const requestId: MiddlewareHandler<App> = async (c, next) => {
  const id = crypto.randomUUID().replaceAll('-', '');
  c.set('requestId', id);
  await next();
  c.header('x-request-id', id);
};

/** Environments that were looked at: all is read before anything is served. */
const looked = new WeakMap<object, readonly string[]>();

const rightSettings: MiddlewareHandler<App> = async (c, next) => {
  const { vars } = c.env;
  const faults = looked.get(vars) ?? faultsOfWorker(vars);
  looked.set(vars, faults);
  if (faults.length === 0) return next();
  console.error(`settings: ${faults.join('; ')}`);
  throw new ApiError(503, 'A setting of this server is wrong; its log says which.', { code: 'misconfigured' });
};

/** Doubled slashes and one at the end, as base URLs put together by hand have them: the client is sent to the path as it is written. */
const oneSpelling: MiddlewareHandler<App> = async (c, next) => {
  const { pathname, search } = new URL(c.req.url);
  const plain = pathname.replace(/\/{2,}/g, '/').replace(/(?<=.)\/$/, '');
  if (plain !== pathname && c.req.method !== 'OPTIONS' && API.test(plain)) return c.redirect(plain + search, 308); // with its method and body
  await next();
};

const crossOrigin: MiddlewareHandler<App> = async (c, next) => {
  const origins = originsOf(c.env.vars.CORS_ORIGINS);
  const origin = c.req.header('origin');
  if (c.req.method === 'OPTIONS' && origin !== undefined && !allows(origins, origin)) throw noCors(origin);
  if (origins.length > 0) return apiCors(origins)(c, next);
  await next();
};
