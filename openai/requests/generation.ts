/** What chat and completion requests share: sampling, limits, stops, streaming. */

import { badRequest } from '../errors.ts';
import { array, boolean, type Fields, integer, number, object, optional, string } from './fields.ts';
import type { GenerationRequest, SamplingParams } from './types.ts';

export const LIMITS = {
  n: 16,
  stop: 4,
  stopLength: 256, // UTF-16 units
  stopTokenIds: 64,
  logitBias: 300,
  topLogprobs: 20,
  promptScores: 32_768, // log-probabilities of prompts, of one request
  tokenId: (1 << 20) - 1, // the engine's largest vocabulary
  maxTokens: 1 << 20, // the engine's longest context
  name: 256,
} as const;

/** Everything of `GenerationRequest` except logprobs, which the two APIs ask for differently. */
export function readGeneration(body: Fields): GenerationRequest {
  const stream = optional(body.stream, (v) => boolean(v, 'stream')) ?? false;
  return {
    model: optional(body.model, (v) => string(v, 'model', 1, LIMITS.name)) ?? '',
    stream,
    includeUsage: readStreamOptions(body.stream_options, stream),
    n: optional(body.n, (v) => integer(v, 'n', 1, LIMITS.n)) ?? 1,
    ...readMaxTokens(body),
    stop: readStop(body.stop),
    stopTokenIds:
      optional(body.stop_token_ids, (v) =>
        array(v, 'stop_token_ids', 0, LIMITS.stopTokenIds).map((id, i) => integer(id, `stop_token_ids[${i}]`, 0, LIMITS.tokenId)),
      ) ?? [],
    ignoreEos: optional(body.ignore_eos, (v) => boolean(v, 'ignore_eos')) ?? false,
    sampling: readSampling(body),
    promptLogprobs: readPromptLogprobs(body, stream),
    promptCacheKey: optional(body.prompt_cache_key, (v) => string(v, 'prompt_cache_key', 1, LIMITS.name)),
    cacheSalt: optional(body.cache_salt, (v) => string(v, 'cache_salt', 1, LIMITS.name)),
    keepAliveMs: optional(body.keep_alive, readKeepAlive),
    priority: optional(body.priority, (v) => integer(v, 'priority', -1000, 1000)) ?? 0,
    explain: optional(body.explain, (v) => boolean(v, 'explain')) ?? false,
  };
}

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;
/** A year. */
const MOST_MS = 366 * 86_400_000;

/** Seconds, or a duration such as "10m" or "1h30m", as Ollama has them; below 0: for good. ms; JSON has no Infinity, so that is a year. */
export function readKeepAlive(v: unknown): number {
  const text = typeof v === 'number' ? `${v}s` : string(v, 'keep_alive', 1, 32);
  const plain = /^-?\d+(\.\d+)?$/.test(text) ? `${text}s` : text;
  const [, sign, rest] = /^(-?)((?:\d+(?:\.\d+)?(?:ms|s|m|h))+)$/.exec(plain) ?? [];
  if (rest === undefined) throw badRequest(`Invalid 'keep_alive': must be seconds, or a duration such as "10m".`, 'keep_alive');
  if (sign === '-') return MOST_MS;
  const ms = [...rest.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce(
    (n, [, x, unit]) => n + Number(x) * UNIT_MS[unit as keyof typeof UNIT_MS],
    0,
  );
  return Math.min(ms, MOST_MS);
}

export function readSampling(body: Fields): SamplingParams {
  const num = (name: string, lo: number, hi: number) => optional(body[name], (v) => number(v, name, lo, hi));
  return {
    temperature: num('temperature', 0, 2),
    topP: num('top_p', 0, 1),
    topK: optional(body.top_k, (v) => integer(v, 'top_k', -1, LIMITS.tokenId)),
    minP: num('min_p', 0, 1),
    repetition: optional(body.repetition_penalty, (v) => number(v, 'repetition_penalty', 0.01, 10)),
    frequency: num('frequency_penalty', -2, 2),
    presence: num('presence_penalty', -2, 2),
    minTokens: optional(body.min_tokens, (v) => integer(v, 'min_tokens', 0, LIMITS.maxTokens)),
    logitBias: readLogitBias(body.logit_bias),
    seed: optional(body.seed, readSeed),
  };
}

/** A 64-bit seed as two u32, low half first. JSON numbers above 2^53 arrive rounded, always to the same value. */
function readSeed(v: unknown): [lo: number, hi: number] {
  const seed = BigInt.asUintN(64, BigInt(integer(v, 'seed', -(2 ** 63), 2 ** 63)));
  return [Number(seed & 0xffffffffn), Number(seed >> 32n)];
}

function readLogitBias(v: unknown): [id: number, add: number][] {
  const entries = Object.entries(optional(v, (o) => object(o, 'logit_bias')) ?? {});
  if (entries.length > LIMITS.logitBias) {
    throw badRequest(
      `Invalid 'logit_bias': at most ${LIMITS.logitBias} entries, got ${entries.length}.`,
      'logit_bias',
      'object_above_max_properties',
    );
  }
  return entries.map(([key, add]) => {
    if (!/^(0|[1-9][0-9]{0,6})$/.test(key)) throw badRequest("Invalid 'logit_bias': its keys must be token ids.", 'logit_bias');
    return [integer(Number(key), 'logit_bias', 0, LIMITS.tokenId), number(add, `logit_bias.${key}`, -100, 100)];
  });
}

function readStop(v: unknown): string[] {
  if (v === undefined || v === null) return [];
  if (typeof v === 'string') return [string(v, 'stop', 1, LIMITS.stopLength)];
  return array(v, 'stop', 0, LIMITS.stop).map((s, i) => string(s, `stop[${i}]`, 1, LIMITS.stopLength));
}

function readPromptLogprobs(body: Fields, stream: boolean): number | undefined {
  const n = optional(body.prompt_logprobs, (v) => integer(v, 'prompt_logprobs', 0, LIMITS.topLogprobs));
  if (n !== undefined && stream) throw badRequest("'prompt_logprobs' come with a whole answer; leave out 'stream'.", 'prompt_logprobs');
  return n;
}

function readMaxTokens(body: Fields): Pick<GenerationRequest, 'maxTokens' | 'maxTokensParam'> {
  const read = (name: string) =>
    optional(body[name], (v) => {
      if (v !== 0 || tellsOfPrompt(body)) return integer(v, name, 0, LIMITS.maxTokens);
      const why = `${name} is at least 1; 0 only where the prompt's log-probabilities are asked for.`;
      throw badRequest(`Invalid '${name}': ${why}`, name, 'integer_below_min_value');
    });
  const old = read('max_tokens');
  const current = read('max_completion_tokens');
  if (old !== undefined && current !== undefined && old !== current) {
    throw badRequest("'max_tokens' and 'max_completion_tokens' differ; send one of them.", 'max_completion_tokens');
  }
  return { maxTokens: current ?? old, maxTokensParam: old === undefined && current !== undefined ? 'max_completion_tokens' : 'max_tokens' };
}

/** Whether an answer has something to say without a token of its own. */
const tellsOfPrompt = (body: Fields): boolean =>
  (body.prompt_logprobs ?? null) !== null || (body.echo === true && typeof body.logprobs === 'number');

function readStreamOptions(v: unknown, stream: boolean): boolean {
  if (v === undefined || v === null) return false;
  if (!stream) throw badRequest("'stream_options' is only allowed when 'stream' is true.", 'stream_options');
  const options = object(v, 'stream_options');
  for (const key of Object.keys(options)) {
    // Obfuscation pads chunks against traffic analysis; none is sent, and asking for none or some changes no answer.
    if (key !== 'include_usage' && key !== 'include_obfuscation') {
      throw badRequest("Unknown parameter in 'stream_options'.", 'stream_options', 'unknown_parameter');
    }
  }
  return optional(options.include_usage, (u) => boolean(u, 'stream_options.include_usage')) ?? false;
}
