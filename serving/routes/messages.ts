/** Anthropic's `/v1/messages` and its `count_tokens`, over the same chats, with errors in that API's form. */

import type { Context } from 'hono';
import { Hono } from 'hono/tiny';
import { parseCountTokens, parseMessages } from '../../openai/requests/anthropic.ts';
import type { ChatRequest, TokenizeRequest } from '../../openai/requests/types.ts';
import { errand } from '../admission.ts';
import { readJson } from '../body.ts';
import { inForm } from '../forms.ts';
import type { App } from '../host.ts';
import { idempotencyKey, seeded } from '../idempotency.ts';
import { callReplica, generateOn } from '../replica.ts';
import { conversationBytes } from '../room.ts';
import { withModel } from './models.ts';

export function messages(): Hono<App> {
  const app = new Hono<App>();
  app.post('/', async (c) => {
    const request = await requestOf(c, parseMessages);
    return inForm(c.req.path, await generateOn(c, '/v1/chat/completions', seeded(request, c.get('tenant'), idempotencyKey(c.req.raw))));
  });
  app.post('/count_tokens', async (c) => {
    const { model, messages, tools, templateArgs, continueFinal } = await requestOf(c, parseCountTokens);
    const request: TokenizeRequest = { kind: 'tokenize', model, messages, tools, templateArgs, continueFinal, addSpecialTokens: true };
    const bytes = JSON.stringify(request).length;
    const counted = await inForm(c.req.path, await errand(c, 'tokenize', bytes, () => callReplica(c, '/v1/tokenize', request)));
    if (!counted.ok) return counted;
    const { count } = (await counted.json()) as { count: number };
    return c.json({ input_tokens: count });
  });
  return app;
}

async function requestOf(c: Context<App>, parse: (body: unknown) => ChatRequest): Promise<ChatRequest> {
  return withModel(c, parse(await readJson(c.req.raw, conversationBytes(c.env))));
}
