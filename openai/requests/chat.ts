/** POST /v1/chat/completions: body → ChatRequest. */

import { badRequest } from '../errors.ts';
import { bodyObject, boolean, type Fields, integer, optional } from './fields.ts';
import { readForm } from './form.ts';
import { LIMITS, readGeneration } from './generation.ts';
import { readMessages } from './messages.ts';
import { chatParameters, checkParameters } from './parameters.ts';
import { readPromptEnd, readThinking } from './template-args.ts';
import { readToolChoice, readTools } from './tools.ts';
import type { ChatRequest } from './types.ts';

/** Throws an `ApiError` (400) that names the first parameter at fault. */
export function parseChat(value: unknown): ChatRequest {
  const body = bodyObject(value);
  checkParameters(body, chatParameters);
  const generation = readGeneration(body);
  generation.sampling.logprobs = readLogprobs(body);
  const tools = readTools(body.tools);
  const messages = readMessages(body.messages);
  return {
    kind: 'chat',
    ...generation,
    messages,
    ...readPromptEnd(body, messages),
    tools,
    toolChoice: readToolChoice(body.tool_choice, tools),
    parallelToolCalls: optional(body.parallel_tool_calls, (v) => boolean(v, 'parallel_tool_calls')) ?? true,
    responseFormat: readForm(body),
    ...readThinking(body),
  };
}

/** `logprobs: true` with `top_logprobs: n` is n; without it 0 best ones, the chosen token's alone. */
function readLogprobs(body: Fields): number | undefined {
  const on = optional(body.logprobs, (v) => boolean(v, 'logprobs')) ?? false;
  const top = optional(body.top_logprobs, (v) => integer(v, 'top_logprobs', 0, LIMITS.topLogprobs));
  if (!on && top) throw badRequest("'top_logprobs' needs 'logprobs' to be true.", 'top_logprobs');
  return on ? (top ?? 0) : undefined;
}
