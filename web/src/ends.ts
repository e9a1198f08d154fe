import type { AnswerTurn } from './turns.ts';

/** Why an answer ended where it did, for the reader; undefined when it simply did. `more`: it can be continued. */
export function endOf(answer: AnswerTurn, context: number | undefined): { words: string; more: boolean } | undefined {
  const { status, finish, stats, text, calls } = answer;
  const more = text !== '' && calls.length === 0;
  if (status === 'stopped') return { words: 'Stopped.', more };
  if (status === 'cut') return { words: 'Cut off when the page was closed.', more };
  if (status === 'repeating') return { words: 'Stopped by this page: the answer had begun to repeat itself.', more };
  if (status !== 'done') return undefined;
  if (finish === 'content_filter') return { words: 'The server ended this answer.', more: false };
  if (finish !== 'length') return undefined;
  const all = stats.usage && stats.usage.prompt + stats.usage.completion;
  if (context !== undefined && all !== undefined && all >= context)
    return { words: `Cut off: the model’s context of ${context.toLocaleString('en')} tokens is full.`, more: false };
  return { words: `Cut off at the limit of tokens for an answer${stats.usage ? ` (${stats.usage.completion})` : ''}.`, more };
}
