import { FIRST_TAG, type Fragment, type Net } from '../net.ts';

/** A function that may be called: its name, and the rule of its arguments, a JSON object. */
export interface Callable {
  name: string;
  args: number;
}

/** How one family of models writes tool calls. */
export interface Dialect {
  /** What begins a call at once. Absent: the call itself does. */
  open?: Tag;
  /** What else begins one in free text: from there on a call is all that may come. */
  alsoOpen?: readonly Tag[];
  /** All that comes after the opening: a call, further ones where they may be parallel, and the end. */
  calls(net: Net, tools: readonly Callable[], parallel: boolean): Fragment;
}

/** Texts around calls. Where the vocabulary has one as a special token, it may also come as that token: the symbol FIRST_TAG + its index. */
export const TAGS = ['<tool_call>', '</tool_call>', '[TOOL_CALLS]', '[ARGS]', '<|python_tag|>'] as const;
export type Tag = (typeof TAGS)[number];

/** A tag as text or as its special token. */
export function tag(net: Net, text: Tag): Fragment {
  const symbol = FIRST_TAG + TAGS.indexOf(text);
  return (from, to) => {
    net.text(text)(from, to);
    net.arc(from, symbol, symbol, to);
  };
}

/** `{"name": "…", "<key>": {…}}` of one of the tools. */
export const jsonCall = (net: Net, tools: readonly Callable[], key: 'arguments' | 'parameters'): Fragment =>
  net.seq(
    net.text('{"name": '),
    net.alt(...tools.map((t) => net.seq(net.quoted(t.name), net.text(`, "${key}": `), net.ruleCall(t.args)))),
    net.text('}'),
  );

/** One `item`, and where they may be parallel further ones, each after `between`. */
export function list(net: Net, item: Fragment, between: Fragment, parallel: boolean): Fragment {
  const one = net.ruleCall(net.define(item));
  return (from, to) => {
    const done = net.state();
    one(from, done);
    net.skip(done, to);
    if (parallel) net.seq(between, one)(done, done);
  };
}
