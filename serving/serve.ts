/** OpenAI's API over one local engine, as `Request` in and `Response` out: the same answers, byte for byte in form, as the Worker's. */

import { ApiError, asApiError, modelNotFound, notFound } from '../openai/errors.ts';
import { CONTENT_TYPE } from '../openai/prometheus.ts';
import { parseChat } from '../openai/requests/chat.ts';
import { parseCompletion } from '../openai/requests/completion.ts';
import { parseResponses } from '../openai/requests/responses.ts';
import { parseApplyTemplate, parseDetokenize, parseTokenize } from '../openai/requests/tokenize.ts';
import type { ResponsesRequest } from '../openai/requests/types.ts';
import { readAnyJson } from './body.ts';
import { idempotencyKey, seeded } from './idempotency.ts';
import { cancelResponse, createResponse, deleteResponse, listInput, retrieveResponse } from './responses/api.ts';
import type { Caller } from './responses/caller.ts';
import type { Responses } from './responses/memory-sessions.ts';
import { conversationPages, PAGES_PATH } from './run/conversation.ts';
import { generate } from './run/generate.ts';
import { modelObject, renderMetrics } from './run/model-info.ts';
import type { Runtime } from './run/runtime.ts';
import { tenantOf } from './run/tenant.ts';
import { tokenize } from './run/tokenize.ts';

const MAX_BODY = 4 << 20; // bytes

/** Answers one request. Never rejects: errors are OpenAI's envelope. Without `responses` none are stored. */
export async function serve(rt: Runtime, request: Request, responses?: Responses): Promise<Response> {
  try {
    // as base URLs put together by hand have them: doubled slashes, and one at the end
    const path = new URL(request.url).pathname.replace(/\/{2,}/g, '/').replace(/(?<=.)\/$/, '');
    return await route(rt, path, request, responses);
  } catch (error) {
    if (!(error instanceof ApiError)) console.error(error);
    const e = asApiError(error);
    return Response.json(e.envelope(), { status: e.status, headers: { ...e.headers } });
  }
}

async function route(rt: Runtime, path: string, request: Request, responses: Responses | undefined): Promise<Response> {
  const { served, engine } = rt;
  const caller: Caller = {
    tenant: tenantOf(request),
    session: responses && ((name) => responses.session(name)),
    secret: async () => responses?.secret ?? '',
    key: idempotencyKey(request),
  };
  const answer = ofResponses(caller, path, request);
  if (answer) return answer;
  if (request.method === 'GET') {
    if (path === '/v1/models') return Response.json({ object: 'list', data: [modelObject(rt)] });
    if (path.startsWith('/v1/models/')) {
      const id = decodeURIComponent(path.slice('/v1/models/'.length));
      if (id !== served.id) throw modelNotFound(id);
      return Response.json(modelObject(rt));
    }
    if (path === '/metrics') return new Response(renderMetrics(rt), { headers: { 'content-type': CONTENT_TYPE } });
    if (path === '/ready' || path === '/health') {
      return Response.json({
        status: 'ready',
        model: served.id,
        backend: served.backend.name,
        memory: engine.plan.bytes,
        stats: engine.stats(),
      });
    }
    throw notFound(`There is nothing at ${path}.`);
  }
  switch (path) {
    case '/v1/chat/completions':
      return generate(rt, seeded(parseChat(await body(request)), caller.tenant, caller.key), request);
    case '/v1/completions':
      return generate(rt, seeded(parseCompletion(await body(request)), caller.tenant, caller.key), request);
    case '/v1/responses':
      return createResponse(caller, ofModel(served.id, parseResponses(await body(request))), (r) =>
        generate(rt, seeded(r, caller.tenant, caller.key), request),
      );
    case PAGES_PATH:
      return conversationPages(rt, parseChat(await body(request)), request);
    case '/v1/tokenize':
      return tokenize(rt, parseTokenize(await body(request)));
    case '/v1/apply-template':
      return tokenize(rt, parseApplyTemplate(await body(request)));
    case '/v1/detokenize':
      return tokenize(rt, parseDetokenize(await body(request)));
  }
  throw notFound(`There is nothing at ${path}.`);
}

/** The Responses API but for what creates one; undefined when the path is another's. */
function ofResponses(caller: Caller, path: string, request: Request): Promise<Response> | undefined {
  const [, id, rest] = /^\/v1\/responses\/([^/]+)(\/[^/]+)?$/.exec(path) ?? [];
  if (id === undefined) return undefined;
  switch (`${request.method} ${rest ?? ''}`) {
    case 'GET ':
      return retrieveResponse(caller, id, request);
    case 'DELETE ':
      return deleteResponse(caller, id);
    case 'POST /cancel':
      return cancelResponse(caller, id);
    case 'GET /input_items':
      return listInput(caller, id, request);
  }
  return undefined;
}

/** Refused before it is stored. */
function ofModel(id: string, request: ResponsesRequest): ResponsesRequest {
  if (request.model && request.model !== id) throw modelNotFound(request.model, id);
  return { ...request, model: id };
}

const body = (request: Request): Promise<unknown> => readAnyJson(request, MAX_BODY);
