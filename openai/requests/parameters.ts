/**
 * Every parameter a request may carry, and what becomes of it. `read` is used. `ignored` cannot change the answer. `refused` would
 * change it in a way this server cannot honour, so it is a 400 by name, unless it carries a value that asks for nothing (`neutral`).
 * A name in no list is refused too: nothing is dropped in silence.
 */

import { badRequest, clip, unsupported } from '../errors.ts';
import type { Fields } from './fields.ts';
import { FORM_PARAMETERS } from './form.ts';
import { PROMPT_PARAMETERS, THINKING_PARAMETERS } from './template-args.ts';

export type Parameter = 'read' | { use: 'ignored'; why: string } | { use: 'refused'; why: string; neutral?: readonly unknown[] };

export type Parameters = { readonly [name: string]: Parameter };

const ignored = (why: string): Parameter => ({ use: 'ignored', why });
const refused = (why: string, ...neutral: unknown[]): Parameter => ({ use: 'refused', why, neutral });

const read = (...names: string[]): Parameters => Object.fromEntries(names.map((n) => [n, 'read' as const]));

/** Sampling and limits: OpenAI's, then those vLLM added. */
const generation: Parameters = {
  ...read('model', 'stream', 'n', 'stop', 'seed', 'temperature', 'top_p', 'frequency_penalty', 'presence_penalty', 'logit_bias'),
  ...read('logprobs', 'prompt_logprobs', 'max_tokens', 'stream_options', 'prompt_cache_key'),
  ...read(
    'top_k',
    'min_p',
    'repetition_penalty',
    'min_tokens',
    'ignore_eos',
    'stop_token_ids',
    'cache_salt',
    'keep_alive',
    'priority',
    'explain',
  ),
  ...read(...FORM_PARAMETERS),
  guided_decoding_backend: ignored('there is one'),
  guided_whitespace_pattern: ignored("JSON has one space after ':' and ',' and no other white space"),
  user: ignored('names the end user for abuse reports; no part of the prompt'),
  metadata: ignored('labels for a dashboard; no part of the prompt'),
  safety_identifier: ignored('names the end user for abuse reports; no part of the prompt'),
  service_tier: ignored('there is one tier'),
};

export const chatParameters: Parameters = {
  ...generation,
  ...read('messages', 'top_logprobs', 'max_completion_tokens', 'response_format'),
  ...read('tools', 'tool_choice', 'parallel_tool_calls', ...PROMPT_PARAMETERS),
  ...read(...THINKING_PARAMETERS),
  prediction: ignored('a guess of the output that only makes it faster'),
  prompt_cache_retention: ignored('how long pages are kept is this server’s own choice; hits are reported in usage'),
  prompt_cache_options: ignored('how long pages are kept is this server’s own choice; hits are reported in usage'),
  store: refused('Chat completions are not stored; use POST /v1/responses with store, or leave it out.', false),
  audio: refused('Audio output is not supported; leave it out for text.'),
  modalities: refused('Only text output is supported.', ['text']),
  functions: refused("Superseded by 'tools': send the same functions there.", []),
  function_call: refused("Superseded by 'tool_choice'.", 'auto', 'none'),
  web_search_options: refused('The server calls nothing else, the web included.'),
  moderation: refused('Nothing is moderated here.'),
};

export const responsesParameters: Parameters = {
  ...Object.fromEntries(Object.entries(generation).filter(([name]) => !['n', 'logprobs', 'max_tokens'].includes(name))),
  ...read(
    'input',
    'instructions',
    'previous_response_id',
    'conversation',
    'truncation',
    'top_logprobs',
    'store',
    'background',
    'max_output_tokens',
    'text',
    'metadata',
    'include',
  ),
  ...read('tools', 'tool_choice', 'parallel_tool_calls', 'reasoning', 'thinking_budget', 'chat_template_kwargs'),
  prompt_logprobs: refused('A response has no place for them; use /v1/chat/completions or /v1/completions.'),
  prompt_cache_retention: chatParameters.prompt_cache_retention,
  prompt_cache_options: chatParameters.prompt_cache_options,
  max_tool_calls: ignored('counts calls of built-in tools, of which there are none'),
  prompt: refused('No prompts are stored here.'),
  context_management: refused('A conversation is never rewritten.'),
  moderation: refused('Nothing is moderated here.'),
};

export const completionParameters: Parameters = {
  ...generation,
  ...read('prompt', 'echo', 'best_of', 'response_format'),
  suffix: refused('Text is not inserted before a suffix.', ''),
};

/** Throws for the first refused or unknown parameter; null values ask for nothing. */
export function checkParameters(body: Fields, known: Parameters): void {
  for (const [name, value] of Object.entries(body)) {
    if (value === null || value === undefined) continue;
    const p = Object.hasOwn(known, name) ? known[name] : undefined;
    if (p === undefined) throw badRequest(`Unknown parameter: '${clip(name)}'.`, clip(name), 'unknown_parameter');
    if (p === 'read' || p.use === 'ignored') continue;
    const text = JSON.stringify(value);
    if (!p.neutral?.some((v) => JSON.stringify(v) === text)) throw unsupported(name, p.why);
  }
}
