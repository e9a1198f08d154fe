/** Variables for the chat template: the client's own, and what the API's fields on reasoning mean to templates. */

import { badRequest } from '../errors.ts';
import { boolean, type Fields, integer, object, oneOf, optional, string } from './fields.ts';
import { LIMITS } from './generation.ts';
import type { ChatMessage, ChatRequest } from './types.ts';

const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh'] as const;

/** By the names templates know: Qwen's `enable_thinking`, DeepSeek's and Granite's `thinking`, `reasoning_effort`. One that knows none ignores them. */
function thinkingArgs(v: unknown, path: string): ChatRequest['templateArgs'] {
  const effort = optional(v, (e) => oneOf(e, path, EFFORTS));
  if (effort === undefined) return {};
  const on = effort !== 'none';
  return { enable_thinking: on, thinking: on, ...(on && { reasoning_effort: effort }) };
}

/** Parameters of `readThinking`. */
export const THINKING_PARAMETERS = ['reasoning', 'reasoning_effort', 'enable_thinking', 'thinking_budget', 'verbosity'] as const;

/** How long answers should be, for templates that know such levels. */
export const verbosityArgs = (v: unknown, path: string): ChatRequest['templateArgs'] =>
  optional(v, (level) => ({ verbosity: oneOf(level, path, ['low', 'medium', 'high']) })) ?? {};

/** Whether and how long a model thinks: an effort, by either name, and a number of tokens, by either name, after which its thinking is ended. */
export function readThinking(body: Fields): Pick<ChatRequest, 'templateArgs' | 'thinkingBudget'> {
  const reasoning = optional(body.reasoning, (v) => object(v, 'reasoning'));
  const tokens = (v: unknown, path: string) => optional(v, (n) => integer(n, path, 0, LIMITS.maxTokens));
  const thinkingBudget = tokens(body.thinking_budget, 'thinking_budget') ?? tokens(reasoning?.max_tokens, 'reasoning.max_tokens');
  return {
    templateArgs: {
      ...verbosityArgs(body.verbosity, 'verbosity'),
      ...thinkingArgs(reasoning?.effort, 'reasoning.effort'),
      ...thinkingArgs(body.reasoning_effort, 'reasoning_effort'),
      ...optional(body.enable_thinking, (v) => ({ enable_thinking: boolean(v, 'enable_thinking') })),
      ...readTemplateArgs(body.chat_template_kwargs),
    },
    ...(thinkingBudget !== undefined && { thinkingBudget }),
  };
}

/** Names a template is given by the server itself; a client may not put others in their place. */
const RESERVED = new Set(['messages', 'tools', 'add_generation_prompt', 'bos_token', 'eos_token', 'documents', 'chat_template']);

export function readTemplateArgs(v: unknown): ChatRequest['templateArgs'] {
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

const MAX_TEMPLATE = 65_536; // UTF-16 units

/** Parameters of `readPromptEnd` and of the template itself. */
export const PROMPT_PARAMETERS = ['chat_template', 'chat_template_kwargs', 'add_generation_prompt', 'continue_final_message'] as const;

/**
 * The client's own template, and how the prompt ends: with the opening of the answer, with nothing, or with an answer that has begun,
 * by vLLM's `continue_final_message` or the last message's own `prefix`.
 */
export function readPromptEnd(
  body: Fields,
  messages: readonly ChatMessage[],
): Pick<ChatRequest, 'chatTemplate' | 'addGenerationPrompt' | 'continueFinal'> {
  const chatTemplate = optional(body.chat_template, (v) => string(v, 'chat_template', 1, MAX_TEMPLATE));
  const opening = optional(body.add_generation_prompt, (v) => boolean(v, 'add_generation_prompt'));
  const asked = optional(body.continue_final_message, (v) => boolean(v, 'continue_final_message')) ?? false;
  const last = Array.isArray(body.messages) ? (body.messages.at(-1) as Fields) : undefined;
  const prefix = last ? (optional(last.prefix, (v) => boolean(v, `messages[${messages.length - 1}].prefix`)) ?? false) : false;
  const param = asked ? 'continue_final_message' : `messages[${messages.length - 1}].prefix`;
  if (asked || prefix) {
    const final = messages.at(-1);
    if (final?.role !== 'assistant' || final.toolCalls)
      throw badRequest(`'${param}' needs a last message of the assistant that is text.`, param);
    if (opening && asked) throw badRequest("'continue_final_message' and 'add_generation_prompt' are not both possible.", param);
  }
  return {
    ...(chatTemplate !== undefined && { chatTemplate }),
    ...(asked || prefix ? { continueFinal: true } : opening === false && { addGenerationPrompt: false }),
  };
}
