/** A conversation made short: what its users said, and the rest as a summary that the model writes. */

import { ApiError } from '../../openai/errors.ts';
import type { Item } from '../../openai/requests/item-types.ts';
import { itemMessages } from '../../openai/requests/items.ts';
import type { ResponsesRequest, TokenizeRequest } from '../../openai/requests/types.ts';
import { historyOf } from './api.ts';
import type { Caller } from './caller.ts';
import { resolveItems } from './resolve.ts';
import { seal } from './seal.ts';

/** Tokens of a summary, where the client gives no other limit. */
const SUMMARY_TOKENS = 512;
const ASK =
  'Summarize the conversation so far for somebody who goes on with it: what was asked, what was decided, which facts, names and ' +
  'results matter, and what is still open. Write the summary only.';

/** All items that the request is about, oldest first: those before it, then its own. */
export async function wholeInput(caller: Caller, request: ResponsesRequest): Promise<Item[]> {
  const { items } = await historyOf(caller, request);
  return [...items, ...(await resolveItems(caller, request.input))];
}

/** POST /v1/responses/compact. `direct` answers a request that nobody keeps. */
export async function compactResponse(
  caller: Caller,
  request: ResponsesRequest,
  direct: (request: ResponsesRequest) => Promise<Response>,
): Promise<Response> {
  const items = await wholeInput(caller, request);
  const messages = [...itemMessages(items, request.instructions), { role: 'user' as const, content: ASK }];
  const maxTokens = request.maxTokens ?? SUMMARY_TOKENS;
  const answer = await direct({ ...request, input: [], messages, maxTokens, truncate: true, stream: false });
  if (!answer.ok) return answer;
  const made = (await answer.json()) as {
    id: string;
    created_at: number;
    output_text: string;
    usage?: unknown;
    error?: { message: string };
  };
  if (made.error) throw new ApiError(503, made.error.message);
  const id = made.id.replace(/^resp_/, '');
  const summary = `Summary of the conversation so far:\n${made.output_text.trim()}`;
  const users = items.filter((item) => item.type === 'message' && item.role === 'user');
  return Response.json({
    id: made.id,
    object: 'response.compaction',
    created_at: made.created_at,
    output: [
      ...users.map((item, i) => ({ ...item, id: item.id || `msg_${id}_in${i}` })),
      { type: 'compaction', id: `cmp_${id}`, encrypted_content: await seal(await caller.secret(), caller.tenant, summary) },
    ],
    usage: made.usage,
  });
}

/** POST /v1/responses/input_tokens. `tokenize` answers with `count`. */
export async function countInput(
  caller: Caller,
  request: ResponsesRequest,
  tokenize: (request: TokenizeRequest) => Promise<Response>,
): Promise<Response> {
  const { model, tools, templateArgs, instructions } = request;
  const messages = itemMessages(await wholeInput(caller, request), instructions);
  const counted = await tokenize({ kind: 'tokenize', model, messages, tools, templateArgs, addSpecialTokens: true });
  if (!counted.ok) return counted;
  const { count } = (await counted.json()) as { count: number };
  return Response.json({ object: 'response.input_tokens', input_tokens: count });
}
