/** Variables for the chat template: the client's own, and what the API's fields on reasoning mean to templates. */

import { badRequest } from '../errors.ts';
import { object, oneOf, optional } from './fields.ts';
import type { ChatRequest } from './types.ts';

const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh'] as const;

/** By the names templates know: Qwen's `enable_thinking`, DeepSeek's and Granite's `thinking`, `reasoning_effort`. One that knows none ignores them. */
export function thinkingArgs(v: unknown, path: string): ChatRequest['templateArgs'] {
  const effort = optional(v, (e) => oneOf(e, path, EFFORTS));
  if (effort === undefined) return {};
  const on = effort !== 'none';
  return { enable_thinking: on, thinking: on, ...(on && { reasoning_effort: effort }) };
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
