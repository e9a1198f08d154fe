/** POST /v1/tokenize and /v1/detokenize, with the names vLLM gave them; not of OpenAI's API. */

import { badRequest } from '../errors.ts';
import { readIds } from './completion.ts';
import { bodyObject, boolean, type Fields, optional, string } from './fields.ts';
import { LIMITS } from './generation.ts';
import { readMessages } from './messages.ts';
import { checkParameters, type Parameters } from './parameters.ts';
import { PROMPT_PARAMETERS, readPromptEnd, readTemplateArgs } from './template-args.ts';
import { readTools } from './tools.ts';
import type { ChatMessage, DetokenizeRequest, TokenizeRequest } from './types.ts';

export const templateParameters: Parameters = {
  model: 'read',
  messages: 'read',
  tools: 'read',
  ...Object.fromEntries(PROMPT_PARAMETERS.map((name) => [name, 'read' as const])),
};

export const tokenizeParameters: Parameters = { ...templateParameters, prompt: 'read', add_special_tokens: 'read' };

export const detokenizeParameters: Parameters = { model: 'read', tokens: 'read' };

/** `{ prompt }` or `{ messages, tools? }`. */
export function parseTokenize(value: unknown): TokenizeRequest {
  const body = bodyObject(value);
  checkParameters(body, tokenizeParameters);
  const text = optional(body.prompt, (v) => string(v, 'prompt'));
  const messages = optional(body.messages, readMessages);
  if ((text === undefined) === (messages === undefined)) throw badRequest("Send either 'prompt' or 'messages'.", 'prompt');
  return {
    kind: 'tokenize',
    model: optional(body.model, (v) => string(v, 'model', 1, LIMITS.name)),
    text,
    messages,
    ...conversation(body, messages ?? []),
    addSpecialTokens: optional(body.add_special_tokens, (v) => boolean(v, 'add_special_tokens')) ?? true,
  };
}

const conversation = (body: Fields, messages: readonly ChatMessage[]) => ({
  tools: readTools(body.tools),
  templateArgs: readTemplateArgs(body.chat_template_kwargs),
  ...readPromptEnd(body, messages),
});

/** POST /v1/apply-template, llama.cpp's: the text of a conversation's prompt. */
export function parseApplyTemplate(value: unknown): TokenizeRequest {
  const body = bodyObject(value);
  checkParameters(body, templateParameters);
  const messages = readMessages(body.messages);
  const model = optional(body.model, (v) => string(v, 'model', 1, LIMITS.name));
  return { kind: 'template', model, messages, ...conversation(body, messages), addSpecialTokens: true };
}

export function parseDetokenize(value: unknown): DetokenizeRequest {
  const body = bodyObject(value);
  checkParameters(body, detokenizeParameters);
  return {
    kind: 'detokenize',
    model: optional(body.model, (v) => string(v, 'model', 1, LIMITS.name)),
    tokens: readIds(body.tokens, 'tokens'),
  };
}
