/** The Responses API's routes (durable-objects/session/api.ts is what they do). */

import { type Context, Hono } from 'hono';
import { again, schedulerOf } from '../durable-objects/scheduler/port.ts';
import { openSession } from '../durable-objects/session/port.ts';
import { clip, methodNotAllowed, notFound } from '../openai/errors.ts';
import { parseCompact, parseInputTokens } from '../openai/requests/conversations.ts';
import { parseResponses } from '../openai/requests/responses.ts';
import { readJson } from '../serving/body.ts';
import { idempotencyKey, seeded } from '../serving/idempotency.ts';
import { cancelResponse, createResponse, deleteResponse, listInput, modelBefore, retrieveResponse } from '../serving/responses/api.ts';
import type { Caller } from '../serving/responses/caller.ts';
import { compactResponse, countInput } from '../serving/responses/compact.ts';
import { errand } from './admission.ts';
import type { App, Env } from './env.ts';
import { withModel } from './models.ts';
import { callReplica, generateOn } from './replica.ts';
import { checkRoom, conversationBytes } from './room.ts';

type Ctx = Context<App>;

export function responses(): Hono<App> {
  const app = new Hono<App>();
  app.post('/', async (c) => {
    const asked = parseResponses(await readJson(c.req.raw, conversationBytes(c.env)));
    // without a model it goes on with the one before
    const request = await withModel(c, { ...asked, model: asked.model || (await modelBefore(caller(c), asked)) });
    checkRoom(c, request);
    return createResponse(caller(c), request, (r) => generateOn(c, '/v1/responses', seeded(r, c.get('tenant'), idempotencyKey(c.req.raw))));
  });
  app.post('/compact', async (c) => {
    const asked = parseCompact(await readJson(c.req.raw, conversationBytes(c.env)));
    const request = await withModel(c, { ...asked, model: asked.model || (await modelBefore(caller(c), asked)) });
    return compactResponse(caller(c), request, (r) => generateOn(c, '/v1/responses', r));
  });
  app.post('/input_tokens', async (c) => {
    const asked = parseInputTokens(await readJson(c.req.raw, conversationBytes(c.env)));
    const request = await withModel(c, { ...asked, model: asked.model || (await modelBefore(caller(c), asked)) });
    return countInput(caller(c), request, (r) => errand(c, 'tokenize', JSON.stringify(r).length, () => callReplica(c, '/v1/tokenize', r)));
  });
  app.get('/:id', (c) => retrieveResponse(caller(c), c.req.param('id'), c.req.raw));
  app.delete('/:id', (c) => deleteResponse(caller(c), c.req.param('id')));
  app.post('/:id', (c) => {
    // a name that is no response's is a route of the API that is not served here
    const { method, path } = c.req;
    if (!c.req.param('id').startsWith('resp_')) throw notFound(`There is nothing at ${method} ${clip(path, 128)}.`);
    throw methodNotAllowed(method, path, 'GET, DELETE');
  });
  app.post('/:id/cancel', (c) => cancelResponse(caller(c), c.req.param('id')));
  app.get('/:id/input_items', (c) => listInput(caller(c), c.req.param('id'), c.req.raw));
  return app;
}

export function caller(c: Ctx): Caller {
  const { SESSION } = c.env;
  return {
    tenant: c.get('tenant'),
    session: SESSION && ((name) => openSession(SESSION, name)),
    secret: () => sealSecret(c.env),
    key: idempotencyKey(c.req.raw),
  };
}

/** The isolate's copy; it never changes. */
let secret: Promise<string> | undefined;

/** What seals responses' ids: `ID_SECRET`, or else what the queue's object has drawn and keeps. */
function sealSecret({ ID_SECRET, SCHEDULER }: Env): Promise<string> {
  if (ID_SECRET) return Promise.resolve(ID_SECRET);
  if (!SCHEDULER) throw new Error('sessions without a queue: bind SCHEDULER, or set ID_SECRET');
  secret ??= again(() => schedulerOf({ SCHEDULER }).secret());
  secret.catch(() => {
    secret = undefined;
  });
  return secret;
}
