/** What an engine is asked by the API: a request that was checked already, one call. */
import { ApiError, asApiError, notFound } from '../../openai/errors.ts';
import { CONTENT_TYPE } from '../../openai/prometheus.ts';
import type { ChatRequest, CompletionRequest, DetokenizeRequest, ResponsesRequest, TokenizeRequest } from '../../openai/requests/types.ts';
import { conversationPages, PAGES_PATH } from './conversation.ts';
import { generate } from './generate.ts';
import { adapterObjects, modelObject, renderMetrics } from './model-info.ts';
import type { Runtime } from './runtime.ts';
import { tokenize } from './tokenize.ts';

type Body = ChatRequest | CompletionRequest | ResponsesRequest | TokenizeRequest | DetokenizeRequest;

/** Answers with what `work` throws, in the envelope. Never rejects. */
export async function inEnvelope(work: () => Promise<Response>): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ApiError)) console.error(error);
    const e = asApiError(error);
    return Response.json(e.envelope(), { status: e.status, headers: { ...e.headers } });
  }
}

/** The engine's answer. Throws ApiError. */
export async function dispatch(rt: Runtime, request: Request): Promise<Response> {
  const path = new URL(request.url).pathname;
  if (request.method === 'GET') return answerGet(rt, path);
  if (path === PAGES_PATH) return conversationPages(rt, (await request.json()) as ChatRequest, request);
  const body = (await request.json()) as Body;
  switch (body.kind) {
    case 'chat':
    case 'completion':
    case 'response':
      return generate(rt, body, request);
    case 'tokenize':
    case 'template':
    case 'detokenize':
      return tokenize(rt, body);
  }
}

async function answerGet(rt: Runtime, path: string): Promise<Response> {
  const { served, engine } = rt;
  if (path === '/ready') {
    const { name } = served.backend;
    return Response.json({ status: 'ready', model: served.id, backend: name, memory: engine.plan.bytes, stats: engine.stats() });
  }
  if (path === '/metrics') return new Response(renderMetrics(rt), { headers: { 'content-type': CONTENT_TYPE } });
  if (path === '/v1/models') return Response.json({ object: 'list', data: [modelObject(rt), ...(await adapterObjects(rt))] });
  throw notFound(`There is nothing at ${path}.`);
}
