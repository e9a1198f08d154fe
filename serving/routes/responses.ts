/** The Responses API's routes (durable-objects/session/api.ts is what they do). */

import type { Context } from 'hono';
import { Hono } from 'hono/tiny';
import { ApiError, clip, methodNotAllowed, notFound } from '../../openai/errors.ts';
import { parseCompact, parseInputTokens } from '../../openai/requests/conversations.ts';
import { parseResponses } from '../../openai/requests/responses.ts';
import { errand } from '../admission.ts';
import { readJson } from '../body.ts';
import type { App } from '../host.ts';
import { idempotencyKey, seeded } from '../idempotency.ts';
import { callReplica, generateOn } from '../replica.ts';
import { cancelResponse, createResponse, deleteResponse, listInput, modelBefore, retrieveResponse } from '../responses/api.ts';
import type { Caller } from '../responses/caller.ts';
import { compactResponse, countInput } from '../responses/compact.ts';
import { checkRoom, conversationBytes } from '../room.ts';
import { sameOrigin } from '../security.ts';
import { withModel } from './models.ts';

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
  app.get('/', (c) => {
    const { method, path } = c.req;
    if (c.req.header('upgrade')?.toLowerCase() !== 'websocket') throw methodNotAllowed(method, path, 'POST');
    if (!c.env.socket) throw new ApiError(501, 'This server opens no WebSockets; use POST with stream.', { code: 'websocket_off' });
    sameOrigin(c);
    return c.env.socket(c.get('tenant'));
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
  const { session, secret } = c.env;
  return {
    tenant: c.get('tenant'),
    session,
    secret,
    key: idempotencyKey(c.req.raw),
    trace: c.get('span')?.traceparent,
  };
}
