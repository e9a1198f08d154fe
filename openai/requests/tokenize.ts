/** POST /v1/tokenize and /v1/detokenize, with the names vLLM gave them; not of OpenAI's API. */

import { badRequest } from '../errors.ts';
import { readIds } from './completion.ts';
import { bodyObject, boolean, optional, string } from './fields.ts';
import { LIMITS } from './generation.ts';
import { readMessages } from './messages.ts';
import { checkParameters, type Parameters } from './parameters.ts';
import { readTools } from './tools.ts';
import type { DetokenizeRequest, TokenizeRequest } from './types.ts';

const tokenizeParameters: Parameters = {
  model: 'read',
  prompt: 'read',
  messages: 'read',
  tools: 'read',
  add_special_tokens: 'read',
  add_generation_prompt: 'read',
};

const detokenizeParameters: Parameters = { model: 'read', tokens: 'read' };

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
    tools: readTools(body.tools),
    addSpecialTokens: optional(body.add_special_tokens, (v) => boolean(v, 'add_special_tokens')) ?? true,
    addGenerationPrompt: optional(body.add_generation_prompt, (v) => boolean(v, 'add_generation_prompt')) ?? true,
  };
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
