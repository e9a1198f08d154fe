import { FIRST_TAG, type Fragment, type Net, NO_TAG } from './net.ts';

/** Texts around calls and their strings. Where the vocabulary has one as a special token, it may also come as that token: the symbol FIRST_TAG + its index. */
export const TAGS = [
  '<tool_call>',
  '</tool_call>',
  '[TOOL_CALLS]',
  '[ARGS]',
  '<|python_tag|>',
  '<|tool_call|>',
  '<|tool_call_start|>',
  '<|tool_call_end|>',
  '<start_function_call>',
  '<end_function_call>',
  '<escape>',
] as const;
export type Tag = (typeof TAGS)[number];

/** A tag as text or as its special token; any other text as it is. `count` sits on the first symbol. */
export function mark(net: Net, text: string, count: number = NO_TAG): Fragment {
  const symbol = FIRST_TAG + TAGS.indexOf(text as Tag);
  return (from, to) => {
    net.text(text, count)(from, to);
    if (symbol >= FIRST_TAG) net.arc(from, symbol, symbol, to, count);
  };
}

export const tag = (net: Net, text: Tag): Fragment => mark(net, text);
