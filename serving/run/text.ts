import { TAGS } from '../../models/grammar/index.ts';
import type { TokenStream } from '../../models/tokenizer/tokenizer.ts';
import { THINKING } from '../../openai/reasoning.ts';
import type { Served } from './runtime.ts';

/** The tag of thinking that the template has opened at the prompt's end; the answer begins inside of it. */
export function opened(
  { tokenizer }: Pick<Served, 'tokenizer'>,
  prompt: readonly number[],
): readonly [open: string, close: string] | undefined {
  const end = tokenizer.decode(prompt.slice(-8)).trimEnd();
  return THINKING.find(([open]) => end.endsWith(open));
}

/**
 * An answer's tokens as text. Control tokens have none, but for those that mark tool calls or thinking: the answer is read by their text,
 * and in a chat they come as it. Thinking that the prompt has opened is opened in the text, too.
 */
export function answerText(
  served: Pick<Served, 'tokenizer'>,
  prompt: readonly number[],
  form: { chat: boolean; tools: boolean },
): TokenStream {
  const { tokenizer } = served;
  const stream = tokenizer.stream({ start: prompt.every((t) => tokenizer.isSpecial(t)) });
  if (!form.chat) return stream;
  const shown = new Map<number, string>();
  for (const tag of [...THINKING.flat(), ...(form.tools ? TAGS : [])]) {
    const id = tokenizer.idOf(tag);
    if (id !== undefined && tokenizer.isSpecial(id)) shown.set(id, tag);
  }
  let before = opened(served, prompt)?.[0] ?? '';
  return {
    push: (id) => {
      const text = before + stream.push(id) + (shown.get(id) ?? '');
      before = '';
      return text;
    },
    flush: () => stream.flush(),
  };
}
