/** POST /v1/completions: body → CompletionRequest. */

import { badRequest, unsupported } from '../errors.ts';
import { array, bodyObject, boolean, integer, optional, string } from './fields.ts';
import { readForm } from './form.ts';
import { LIMITS, readGeneration } from './generation.ts';
import { checkParameters, completionParameters } from './parameters.ts';
import type { CompletionRequest } from './types.ts';

const MAX_PROMPTS = 64;
const MAX_PROMPT_TOKENS = 1 << 20;
/** Throws an `ApiError` (400) that names the first parameter at fault. */
export function parseCompletion(value: unknown): CompletionRequest {
  const body = bodyObject(value);
  checkParameters(body, completionParameters);
  const generation = readGeneration(body);
  generation.sampling.logprobs = optional(body.logprobs, (v) => integer(v, 'logprobs', 0, LIMITS.topLogprobs));
  const bestOf = optional(body.best_of, (v) => integer(v, 'best_of', 1, LIMITS.n)) ?? generation.n;
  if (bestOf !== generation.n) throw unsupported('best_of', "Candidates are not ranked; it may only equal 'n'.");
  const echo = optional(body.echo, (v) => boolean(v, 'echo')) ?? false;
  const prompts = readPrompts(body.prompt);
  if (prompts.length * generation.n > MAX_PROMPTS) {
    throw badRequest(`Invalid 'n': ${prompts.length} prompts × ${generation.n} choices are more than ${MAX_PROMPTS}.`, 'n');
  }
  return { kind: 'completion', ...generation, prompts, echo, responseFormat: readForm(body) };
}

/** A string, strings, token ids, or arrays of token ids. */
function readPrompts(v: unknown): (string | number[])[] {
  if (!Array.isArray(v)) {
    if (typeof v === 'object' && v !== null) {
      throw badRequest(
        "Invalid type for 'prompt': expected a string or an array of strings, token ids or token arrays.",
        'prompt',
        'invalid_type',
      );
    }
    return [string(v, 'prompt')];
  }
  if (typeof v[0] === 'number') return [readIds(v, 'prompt')];
  return array(v, 'prompt', 1, MAX_PROMPTS).map((p, i) => (Array.isArray(p) ? readIds(p, `prompt[${i}]`) : string(p, `prompt[${i}]`)));
}

export function readIds(v: unknown, path: string): number[] {
  return array(v, path, 0, MAX_PROMPT_TOKENS).map((id, i) => integer(id, `${path}[${i}]`, 0, LIMITS.tokenId));
}
