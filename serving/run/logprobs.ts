import type { StepEvent } from '../../engine/index.ts';
import type { Tokenizer } from '../../models/tokenizer/tokenizer.ts';
import type { TokenLogprobs, TokenText } from '../../openai/stream/answer.ts';

const utf8 = new TextDecoder();

type Token = StepEvent['tokens'][number];

/** A token's log-probabilities as the API tells them; undefined where the request did not ask. */
export function logprobsOf(tokenizer: Tokenizer, t: Token): TokenLogprobs | undefined {
  if (t.logprob === undefined) return undefined;
  const text = (id: number, logprob: number): TokenText => {
    const bytes = tokenizer.bytesOf(id);
    return { token: utf8.decode(bytes), bytes: [...bytes], logprob };
  };
  return { ...text(t.id, t.logprob), top: (t.top ?? []).map((x) => text(x.id, x.logprob)) };
}
