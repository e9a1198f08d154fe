/** Ollama's POST /api/chat and /api/generate: a body → the ChatRequest or CompletionRequest that it means. Read as OpenAI's are, so that one set of limits holds. */

import { badRequest, unsupportedValue } from '../errors.ts';
import { parseChat } from './chat.ts';
import { parseCompletion } from './completion.ts';
import { array, bodyObject, boolean, type Fields, integer, object, oneOf, optional, string } from './fields.ts';
import { LIMITS, readKeepAlive } from './generation.ts';
import { MAX_MESSAGES } from './messages.ts';
import { checkParameters, type Parameters } from './parameters.ts';
import type { ChatRequest, CompletionRequest } from './types.ts';

const read = (...names: string[]): Parameters => Object.fromEntries(names.map((n) => [n, 'read' as const]));
const ignored = (why: string) => ({ use: 'ignored' as const, why });
const ignoring = (why: string, ...names: string[]): Parameters => Object.fromEntries(names.map((n) => [n, ignored(why)]));
const refused = (why: string, ...neutral: unknown[]) => ({ use: 'refused' as const, why, neutral });

const shared: Parameters = {
  ...read('model', 'stream', 'format', 'options', 'keep_alive', 'think', 'logprobs', 'top_logprobs'),
  ...ignoring('a prompt that the context cannot hold is refused, never cut', 'truncate', 'shift'),
};

export const ollamaChatParameters: Parameters = { ...shared, ...read('messages', 'tools') };

export const ollamaGenerateParameters: Parameters = {
  ...shared,
  ...read('prompt', 'system', 'raw'),
  template: refused('Templates are Jinja here, chat_template of /v1/chat/completions; with raw there is none.', ''),
  suffix: refused('Text is not inserted before a suffix.', ''),
  images: refused('This model reads text.', []),
  context: refused('Send the conversation to /api/chat; what was computed of it is found by its text.', []),
};

export const ollamaOptions: Parameters = {
  ...read(
    'temperature',
    'top_p',
    'top_k',
    'min_p',
    'seed',
    'num_predict',
    'stop',
    'repeat_penalty',
    'presence_penalty',
    'frequency_penalty',
  ),
  ...ignoring("the context is the server's; a prompt that it cannot hold is refused, never cut", 'num_ctx', 'num_keep'),
  ...ignoring('how the server computes is its own choice', 'num_batch', 'num_gpu', 'main_gpu', 'num_thread', 'numa', 'low_vram'),
  ...ignoring('how the server computes is its own choice', 'f16_kv', 'use_mmap', 'use_mlock'),
  repeat_last_n: refused('Penalties count the whole text.', -1),
  typical_p: refused('There is no typical sampling; use min_p or top_p.', 1),
  tfs_z: refused('There is no tail-free sampling; use min_p or top_p.', 1),
  mirostat: refused('There is no mirostat; use min_p or top_p.', 0),
  ...ignoring('of mirostat, which is refused', 'mirostat_tau', 'mirostat_eta'),
  penalize_newline: refused('Penalties spare no token.', true),
};

/** Loads a model, or says how long it stays, and generates nothing. */
export interface OllamaLoad {
  kind: 'load';
  wire: 'ollama' | 'ollama-generate';
  model: string;
  keepAliveMs?: number;
}

/** Throws an `ApiError` (400) that names the first parameter at fault. */
export function parseOllamaChat(value: unknown): ChatRequest | OllamaLoad {
  const body = bodyObject(value);
  checkParameters(body, ollamaChatParameters);
  const messages = optional(body.messages, messagesOf) ?? [];
  const fields = fieldsOf(body);
  if (messages.length === 0) return loadOf(fields, 'ollama');
  return { ...named(parseChat({ ...fields, ...thinkOf(body.think), messages, tools: body.tools })), wire: 'ollama' };
}

/** Throws as `parseOllamaChat` does. With `raw` the prompt is completed as it is; else it is what the user says. */
export function parseOllamaGenerate(value: unknown): ChatRequest | CompletionRequest | OllamaLoad {
  const body = bodyObject(value);
  checkParameters(body, ollamaGenerateParameters);
  const prompt = optional(body.prompt, (v) => string(v, 'prompt')) ?? '';
  const system = optional(body.system, (v) => string(v, 'system')) ?? '';
  const raw = optional(body.raw, (v) => boolean(v, 'raw')) ?? false;
  const fields = fieldsOf(body);
  const think = thinkOf(body.think);
  if (prompt === '') return loadOf(fields, 'ollama-generate');
  if (raw) {
    const { top_logprobs: best, logprobs, ...rest } = fields;
    return {
      ...named(parseCompletion({ ...rest, prompt, logprobs: logprobs === true ? (best ?? 0) : undefined })),
      wire: 'ollama-generate',
    };
  }
  const messages = [...(system === '' ? [] : [{ role: 'system', content: system }]), { role: 'user', content: prompt }];
  return { ...named(parseChat({ ...fields, ...think, messages })), wire: 'ollama-generate' };
}

const loadOf = ({ model, keep_alive }: Fields, wire: OllamaLoad['wire']): OllamaLoad => ({
  ...{ kind: 'load', wire, model: (model as string | undefined) ?? '' },
  keepAliveMs: optional(keep_alive, readKeepAlive),
});

/** A model without the tag that Ollama gives to all. */
export const ollamaModel = (v: unknown): string => string(v, 'model', 1, LIMITS.name).replace(/:latest$/, '');

/** The form as the client named it. */
function named<R extends ChatRequest | CompletionRequest>(r: R): R {
  return r.responseFormat.type === 'json_schema' ? { ...r, responseFormat: { ...r.responseFormat, param: 'format' } } : r;
}

/** What chats and completions share, in OpenAI's names. The answer says what it took. */
function fieldsOf(body: Fields): Fields {
  const options = optional(body.options, (v) => object(v, 'options')) ?? {};
  checkParameters(options, ollamaOptions);
  optional(options.num_ctx, (v) => integer(v, 'options.num_ctx', 1, LIMITS.maxTokens));
  const predict = optional(options.num_predict, (v) => integer(v, 'options.num_predict', -2, LIMITS.maxTokens)) ?? -1;
  return {
    model: optional(body.model, ollamaModel),
    stream: optional(body.stream, (v) => boolean(v, 'stream')) ?? true,
    max_tokens: predict > 0 ? predict : undefined,
    ...{ temperature: options.temperature, top_p: options.top_p, top_k: options.top_k, min_p: options.min_p, seed: options.seed },
    ...{ stop: options.stop, repetition_penalty: options.repeat_penalty },
    ...{ presence_penalty: options.presence_penalty, frequency_penalty: options.frequency_penalty },
    ...{ keep_alive: body.keep_alive, logprobs: body.logprobs, top_logprobs: body.top_logprobs, explain: true },
    ...optional(body.format, formOf),
  };
}

function formOf(v: unknown): Fields {
  if (v === '') return {};
  if (v === 'json') return { response_format: { type: 'json_object' } };
  if (typeof v === 'string') throw badRequest(`Invalid value for 'format': "json" or a JSON schema is understood.`, 'format');
  return { json_schema: object(v, 'format') };
}

const thinkOf = (v: unknown): Fields => {
  if (typeof v === 'string') return { reasoning_effort: oneOf(v, 'think', ['low', 'medium', 'high']) };
  return { enable_thinking: optional(v, (on) => boolean(on, 'think')) };
};

/** Turns as the chat's. Results of tools, which may come without the id of their call, are those of the calls before, by name or in order. */
function messagesOf(v: unknown): Fields[] {
  const open: { id: string; name: unknown }[] = [];
  return array(v, 'messages', 0, MAX_MESSAGES).map((item, i) => {
    const at = `messages[${i}]`;
    const m = object(item, at);
    const role = oneOf(m.role, `${at}.role`, ['system', 'user', 'assistant', 'tool']);
    const content = optional(m.content, (c) => string(c, `${at}.content`)) ?? '';
    if (optional(m.images, (x) => array(x, `${at}.images`, 0, 64))?.length)
      throw unsupportedValue(`${at}.images`, 'This model reads text.');
    if (role === 'tool') {
      const place = open.findIndex((c) => (m.tool_call_id ? c.id === m.tool_call_id : c.name === m.tool_name));
      const [call] = open.splice(Math.max(0, place), 1);
      return { role, content, tool_call_id: m.tool_call_id || (call?.id ?? `call_${i}`) };
    }
    if (role !== 'assistant') return { role, content };
    const calls = (optional(m.tool_calls, (x) => array(x, `${at}.tool_calls`, 0, 128)) ?? []).map((x, j) => {
      const call = object(x, `${at}.tool_calls[${j}]`);
      const f = object(call.function, `${at}.tool_calls[${j}].function`);
      const input = JSON.stringify(optional(f.arguments, (a) => object(a, `${at}.tool_calls[${j}].function.arguments`)) ?? {});
      open.push({ id: (call.id as string) || `call_${i}_${j}`, name: f.name });
      return { id: open.at(-1)?.id, type: 'function', function: { name: f.name, arguments: input } };
    });
    return { role, content, reasoning_content: m.thinking, ...(calls.length > 0 && { tool_calls: calls }) };
  });
}
