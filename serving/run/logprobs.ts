import type { ScoredToken, StepEvent } from '../../engine/index.ts';
import type { Tokenizer } from '../../models/tokenizer/tokenizer.ts';
import type { PromptToken, TokenLogprobs, TokenText } from '../../openai/stream/answer.ts';

const utf8 = new TextDecoder();

type Token = StepEvent['tokens'][number];

/** A token's log-probabilities as the API tells them; undefined where the request did not ask. */
export function logprobsOf(tokenizer: Tokenizer, t: Token): TokenLogprobs | undefined {
  if (t.logprob === undefined) return undefined;
  const text = ({ id, logprob = 0 }: { id: number; logprob?: number }): TokenText => ({ ...textOf(tokenizer, id), logprob });
  return { ...text(t), top: (t.top ?? []).map(text) };
}

/** A prompt's tokens as the API tells them: `scores` are those of the second and all after it. */
export function promptTokens(tokenizer: Tokenizer, prompt: readonly number[], scores: readonly ScoredToken[]): PromptToken[] {
  const stream = tokenizer.stream({ start: true });
  let offset = 0;
  return prompt.map((id, i) => {
    const at = offset;
    offset += stream.push(id).length;
    const scored = i === 0 ? undefined : scores[i - 1];
    const top = scored?.top.map((t) => ({ id: t.id, ...textOf(tokenizer, t.id), logprob: t.logprob })) ?? [];
    return { id, offset: at, text: textOf(tokenizer, id), ...(scored && { scored: { ...scored, top } }) };
  });
}

function textOf(tokenizer: Tokenizer, id: number): Omit<TokenText, 'logprob'> {
  const bytes = tokenizer.bytesOf(id);
  return { token: utf8.decode(bytes), bytes: [...bytes] };
}
