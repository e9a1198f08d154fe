/** /v1/conversations, and what of the Responses API asks about a conversation without asking for an answer. */

import { array, bodyObject, type Fields, optional } from './fields.ts';
import type { InputItem } from './item-types.ts';
import { readInput } from './items.ts';
import { checkParameters, type Parameters, responsesParameters } from './parameters.ts';
import { parseResponses, readMetadata } from './responses.ts';
import type { ResponsesRequest } from './types.ts';

/** Items that one call may add. */
const MAX_ITEMS = 20;

export const conversationParameters: Parameters = { items: 'read', metadata: 'read' };
export const conversationUpdateParameters: Parameters = { metadata: 'read' };
export const conversationItemsParameters: Parameters = { items: 'read' };

const some = (...names: string[]): Parameters => Object.fromEntries(names.map((name) => [name, responsesParameters[name]]));

export const inputTokensParameters: Parameters = {
  ...some('model', 'input', 'instructions', 'previous_response_id', 'conversation', 'tools', 'tool_choice', 'parallel_tool_calls'),
  ...some('text', 'reasoning', 'truncation', 'chat_template_kwargs', 'thinking_budget'),
  personality: { use: 'ignored', why: 'models here have no styles; say in the instructions how answers should be' },
};

export const compactParameters: Parameters = some(
  ...['model', 'input', 'instructions', 'previous_response_id', 'prompt_cache_key', 'prompt_cache_retention', 'prompt_cache_options'],
  ...['service_tier', 'max_output_tokens', 'temperature', 'top_p', 'seed', 'priority'],
  ...['chat_template_kwargs', 'reasoning', 'thinking_budget'],
);

/** POST /v1/conversations: the items it begins with. */
export function parseConversation(value: unknown): { items: InputItem[]; metadata: Record<string, string> } {
  const body = bodyObject(value);
  checkParameters(body, conversationParameters);
  return { items: optional(body.items, () => readItems(body)) ?? [], metadata: readMetadata(body.metadata) };
}

/** POST /v1/conversations/{id} */
export function parseConversationUpdate(value: unknown): { metadata: Record<string, string> } {
  const body = bodyObject(value);
  checkParameters(body, conversationUpdateParameters);
  return { metadata: readMetadata(body.metadata) };
}

/** POST /v1/conversations/{id}/items */
export function parseConversationItems(value: unknown): InputItem[] {
  const body = bodyObject(value);
  checkParameters(body, conversationItemsParameters);
  return readItems(body);
}

const readItems = (body: Fields): InputItem[] => readInput(array(body.items, 'items', 0, MAX_ITEMS), 'items');

/** POST /v1/responses/input_tokens */
export function parseInputTokens(value: unknown): ResponsesRequest {
  const body = bodyObject(value);
  checkParameters(body, inputTokensParameters);
  return parseResponses({ ...body, personality: undefined, input: body.input ?? [] });
}

/** POST /v1/responses/compact */
export function parseCompact(value: unknown): ResponsesRequest {
  const body = bodyObject(value);
  checkParameters(body, compactParameters);
  return parseResponses({ ...body, input: body.input ?? [], store: false });
}
