import type { SchemaBuilder } from '../build.ts';
import type { Node } from '../flat.ts';
import type { Fragment, Net } from '../net.ts';
import type { Syntax } from '../syntax.ts';
import type { Tag } from '../tags.ts';

/** A function that may be called: its name, and the rule of its arguments as the dialect writes them. */
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
  /** How its arguments' values are written; default JSON. */
  syntax?: Syntax;
  /** The rule of a call's arguments, all `nodes` asked of them; default an object. `raw`: parameters whose text may stand as it is. */
  args?(b: SchemaBuilder, nodes: readonly Node[], raw: ReadonlySet<string>): number;
  /** All that comes after the opening: a call, further ones where they may be parallel, and the end. */
  calls(net: Net, tools: readonly Callable[], parallel: boolean): Fragment;
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
