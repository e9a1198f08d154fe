/** POST /v1/chat/completions: body → ChatRequest. */

import { badRequest } from '../errors.ts';
import { bodyObject, boolean, type Fields, integer, object, optional } from './fields.ts';
import { LIMITS, readGeneration } from './generation.ts';
import { readMessages } from './messages.ts';
import { chatParameters, checkParameters } from './parameters.ts';
import { readResponseFormat, readToolChoice, readTools } from './tools.ts';
import type { ChatRequest } from './types.ts';

/** Throws an `ApiError` (400) that names the first parameter at fault. */
export function parseChat(value: unknown): ChatRequest {
  const body = bodyObject(value);
  checkParameters(body, chatParameters);
  const generation = readGeneration(body);
  generation.sampling.logprobs = readLogprobs(body);
  const tools = readTools(body.tools);
  return {
    kind: 'chat',
    ...generation,
    messages: readMessages(body.messages),
    tools,
    toolChoice: readToolChoice(body.tool_choice, tools),
    parallelToolCalls: optional(body.parallel_tool_calls, (v) => boolean(v, 'parallel_tool_calls')) ?? true,
    responseFormat: readResponseFormat(body.response_format),
    templateArgs: readTemplateArgs(body.chat_template_kwargs),
  };
}

/** `logprobs: true` with `top_logprobs: n` is n; without it 0 best ones, the chosen token's alone. */
function readLogprobs(body: Fields): number | undefined {
  const on = optional(body.logprobs, (v) => boolean(v, 'logprobs')) ?? false;
  const top = optional(body.top_logprobs, (v) => integer(v, 'top_logprobs', 0, LIMITS.topLogprobs));
  if (!on && top) throw badRequest("'top_logprobs' needs 'logprobs' to be true.", 'top_logprobs');
  return on ? (top ?? 0) : undefined;
}

/** Names a template is given by the server itself; a client may not put others in their place. */
const RESERVED = new Set(['messages', 'tools', 'add_generation_prompt', 'bos_token', 'eos_token', 'documents', 'chat_template']);

function readTemplateArgs(v: unknown): ChatRequest['templateArgs'] {
  const path = 'chat_template_kwargs';
  const entries = Object.entries(optional(v, (o) => object(o, path)) ?? {});
  if (entries.length > 16) throw badRequest(`Invalid '${path}': at most 16 entries, got ${entries.length}.`, path);
  const args: ChatRequest['templateArgs'] = {};
  for (const [key, value] of entries) {
    if (!/^[a-z_][a-z0-9_]{0,63}$/.test(key) || RESERVED.has(key) || key === '__proto__') {
      throw badRequest(`Invalid '${path}': its keys must be a template's variables other than the server's own.`, path);
    }
    if (typeof value === 'string' && value.length <= 4096) args[key] = value;
    else if (typeof value === 'number' || typeof value === 'boolean') args[key] = value;
    else throw badRequest(`Invalid '${path}.${key}': expected a number, a boolean or a string of at most 4096.`, `${path}.${key}`);
  }
  return args;
}
