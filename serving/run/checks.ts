/** What of a request only the replica can check: the Worker knows no model. */
import { badRequest, contextOverflow, outputOverflow } from '../../openai/errors.ts';
import { LIMITS } from '../../openai/requests/generation.ts';
import type { GenerationRequest } from '../../openai/requests/types.ts';
import type { Served } from './runtime.ts';

/** Throws 400 naming the field when a request names a token that the model does not have. */
export function checkIds(
  { config }: Pick<Served, 'config'>,
  body: Pick<GenerationRequest, 'sampling' | 'stopTokenIds'>,
  prompt: readonly number[],
): void {
  const check = (ids: readonly number[], param: string) => {
    const wrong = ids.find((id) => id >= config.vocab);
    if (wrong !== undefined) throw badRequest(`Token id ${wrong} is outside the vocabulary of ${config.vocab}.`, param);
  };
  check(
    body.sampling.logitBias.map(([id]) => id),
    'logit_bias',
  );
  check(body.stopTokenIds, 'stop_token_ids');
  check(prompt, 'prompt');
}

/**
 * The best ones that are asked for of each place in the prompts; undefined where nothing is. Throws 400 when that is more than is told of
 * one request: every place's values are held until the answer begins.
 */
export function promptBest(
  body: Pick<GenerationRequest, 'promptLogprobs' | 'sampling' | 'n'> & { echo?: unknown },
  prompts: readonly (readonly number[])[],
): number | undefined {
  const echoed = body.echo === true ? body.sampling.logprobs : undefined;
  if (echoed === undefined && body.promptLogprobs === undefined) return undefined;
  const best = Math.max(echoed ?? 0, body.promptLogprobs ?? 0);
  const values = prompts.reduce((n, p) => n + p.length, 0) * body.n * (best + 1);
  if (values > LIMITS.promptScores) {
    throw badRequest(
      `${values} log-probabilities of prompts are more than ${LIMITS.promptScores}; ask for fewer in each place, or send less text at once.`,
      body.promptLogprobs === undefined ? 'logprobs' : 'prompt_logprobs',
    );
  }
  return best;
}

/** Ids that end a generation. `ignore_eos` goes on past the model's own, but not past the end of a grammar, after which nothing may come. */
export const stopIdsOf = (
  { stopIds }: Pick<Served, 'stopIds'>,
  body: Pick<GenerationRequest, 'ignoreEos' | 'stopTokenIds'> & { responseFormat: { type: string }; tools?: readonly unknown[] },
): readonly number[] => {
  const formed = body.responseFormat.type !== 'text' || (body.tools?.length ?? 0) > 0;
  return body.ignoreEos && !formed ? body.stopTokenIds : [...stopIds, ...body.stopTokenIds];
};

/** OpenAI's default for completions; chat has none. */
const COMPLETION_TOKENS = 16;

/** Most tokens that an answer may have. Throws 400: the prompt is too long, or what is asked for after it. `prompt` names its field. */
export function outputLimit(
  { maxPrompt }: { maxPrompt: number },
  body: Pick<GenerationRequest, 'maxTokens' | 'maxTokensParam'> & { kind?: string; wire?: string },
  promptTokens: number,
  prompt: string,
): number {
  const context = maxPrompt + 1;
  const room = context - promptTokens;
  if (room < 1) throw contextOverflow(context, promptTokens, 1, prompt);
  // Anthropic's clients must give a number, and give the largest they know of
  if (body.wire === 'anthropic') return Math.min(body.maxTokens ?? room, room);
  if ((body.maxTokens ?? 1) > room) throw outputOverflow(context, promptTokens, body.maxTokens as number, body.maxTokensParam);
  return body.maxTokens ?? (body.kind === 'completion' ? Math.min(COMPLETION_TOKENS, room) : room);
}
