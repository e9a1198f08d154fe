/** OpenAI's API over one local engine, as `Request` in and `Response` out: the same answers, byte for byte in form, as the Worker's. */
import { generate } from '../durable-objects/replica/generate.ts';
import type { Runtime } from '../durable-objects/replica/index.ts';
import { chatPrompt } from '../durable-objects/replica/prompt.ts';
import { ApiError, asApiError, badRequest, notFound } from '../openai/errors.ts';
import { parseChat } from '../openai/requests/chat.ts';
import { parseCompletion } from '../openai/requests/completion.ts';
import { parseDetokenize, parseTokenize } from '../openai/requests/tokenize.ts';

const MAX_BODY = 4 << 20; // characters

/** Answers one request. Never rejects: errors are OpenAI's envelope. */
export async function serve(rt: Runtime, request: Request): Promise<Response> {
  try {
    return await route(rt, new URL(request.url).pathname, request);
  } catch (error) {
    if (!(error instanceof ApiError)) console.error(error);
    const e = asApiError(error);
    return Response.json(e.envelope(), { status: e.status, headers: { ...e.headers } });
  }
}

async function route(rt: Runtime, path: string, request: Request): Promise<Response> {
  const { served, engine } = rt;
  if (request.method === 'GET') {
    if (path === '/v1/models') {
      const model = { id: served.id, object: 'model', created: 0, owned_by: 'turnstone', max_model_len: engine.plan.context };
      return Response.json({ object: 'list', data: [model] });
    }
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
      return generate(rt, parseChat(await body(request)), request);
    case '/v1/completions':
      return generate(rt, parseCompletion(await body(request)), request);
    case '/v1/tokenize': {
      const b = parseTokenize(await body(request));
      const tokens =
        b.messages !== undefined
          ? chatPrompt(served, b.messages, b.tools, {}, b.addGenerationPrompt)
          : served.tokenizer.encode(b.text ?? '', { bos: b.addSpecialTokens ? undefined : false });
      return Response.json({ tokens, count: tokens.length, max_model_len: engine.plan.context });
    }
    case '/v1/detokenize':
      return Response.json({ prompt: served.tokenizer.decode(parseDetokenize(await body(request)).tokens) });
  }
  throw notFound(`There is nothing at ${path}.`);
}

async function body(request: Request): Promise<unknown> {
  const text = await request.text();
  if (text.length > MAX_BODY) throw badRequest(`The body has more than ${MAX_BODY} characters.`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`The body is no JSON: ${error instanceof Error ? error.message : error}`);
  }
}
