import { TAGS } from '../../models/grammar/index.ts';
import type { TokenStream } from '../../models/tokenizer/tokenizer.ts';
import type { Served } from './model.ts';

/**
 * An answer's tokens as text. Control tokens have none, but for those that mark tool calls: the answer is read by their text, and where
 * tools may be called they come as it.
 */
export function answerText({ tokenizer }: Pick<Served, 'tokenizer'>, prompt: readonly number[], tools: boolean): TokenStream {
  const stream = tokenizer.stream({ start: prompt.every((t) => tokenizer.isSpecial(t)) });
  if (!tools) return stream;
  const shown = new Map<number, string>();
  for (const tag of TAGS) {
    const id = tokenizer.idOf(tag);
    if (id !== undefined && tokenizer.isSpecial(id)) shown.set(id, tag);
  }
  if (shown.size === 0) return stream;
  return { push: (id) => stream.push(id) + (shown.get(id) ?? ''), flush: () => stream.flush() };
}
