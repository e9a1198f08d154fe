import { badRequest } from '../../openai/errors.ts';
import type { GenerationRequest } from '../../openai/requests/types.ts';
import type { Served } from './model.ts';

/** Throws 400 naming the field when a request names a token that the model does not have: the Worker, which knows no model, cannot. */
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

/** Ids that end a generation. `ignore_eos` goes on past the model's own, but not past the end of a grammar, after which nothing may come. */
export const stopIdsOf = (
  { stopIds }: Pick<Served, 'stopIds'>,
  body: Pick<GenerationRequest, 'ignoreEos' | 'stopTokenIds'>,
  constrained: boolean,
): readonly number[] => (body.ignoreEos && !constrained ? body.stopTokenIds : [...stopIds, ...body.stopTokenIds]);
