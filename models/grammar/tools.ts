import { SchemaBuilder } from './build.ts';
import { Schema } from './flatten.ts';
import { GrammarError, LIMITS } from './limits.ts';
import { ALPHABET, FIRST_TAG, type Fragment, type Net } from './net.ts';

export interface ToolSpec {
  name: string;
  /** JSON schema of the arguments, an object; absent: no arguments, `{}`. */
  parameters?: unknown;
}

export type ToolChoice = 'auto' | 'required' | { name: string };

/** The text around a call. A tag that the vocabulary has as a special token may also come as that token. */
export const CALL_OPEN = '<tool_call>';
export const CALL_CLOSE = '</tool_call>';
export const TAGS: readonly string[] = [CALL_OPEN, CALL_CLOSE];

/** Options of tools as the compiler takes them. */
export interface ToolsOptions extends Omit<RuleOptions, 'answer'> {
  /** With `auto`: JSON that is said instead of a call, in place of any text: of a schema, or any object. */
  answer?: { schema: unknown; onUnsupported?: RuleOptions['onUnsupported'] } | 'object';
}

interface RuleOptions {
  /** Several calls, a line break between them. Default true. */
  parallel?: boolean;
  open?: boolean;
  onUnsupported?: (pointer: string, keyword: string) => void;
  /** With `auto`: the rule of what may be said instead of a call, in place of any text. */
  answer?: number;
}

/**
 * auto: any text (or `answer`), until `<tool_call>` appears; required or named: a call at once. A call is
 * `<tool_call>\n{"name": "…", "arguments": {…}}\n</tool_call>`; after one only further calls or the end may come. Returns the root rule.
 */
export function toolsRule(net: Net, tools: readonly ToolSpec[], choice: ToolChoice, options: RuleOptions): number {
  if (tools.length === 0) throw new GrammarError('/tools', '', 'no tools are given');
  if (tools.length > LIMITS.tools) throw new GrammarError('/tools', '', `${tools.length} tools, at most ${LIMITS.tools}`);
  const chosen = typeof choice === 'object' ? tools.filter((t) => t.name === choice.name) : tools;
  if (typeof choice === 'object' && chosen.length === 0)
    throw new GrammarError('/tool_choice', '', `there is no tool named "${choice.name.slice(0, 64)}"`);
  const calls = chosen.map((t) => {
    const base = `/tools/${tools.indexOf(t)}/parameters`;
    const schema = new Schema(
      t.parameters ?? { type: 'object', properties: {}, additionalProperties: false },
      base,
      options.open ?? false,
      options.onUnsupported,
    );
    const builder = new SchemaBuilder(net, schema);
    const args = builder.rule([schema.top(), { schema: { type: 'object' }, at: `${base}#object`, via: [] }]);
    return net.seq(net.quoted(t.name), net.text(', "arguments": '), net.ruleCall(args));
  });
  const call = net.define(net.seq(net.text('\n{"name": '), net.alt(...calls), net.text('}\n'), tag(net, 1)));
  const followed = (from: number, to: number) => {
    const done = net.state();
    net.call(from, call, done);
    net.skip(done, to);
    if (options.parallel ?? true) {
      const next = net.state();
      net.text('\n')(done, next);
      const opened = net.state();
      tag(net, 0)(next, opened);
      net.call(opened, call, done);
    }
  };
  const atOnce = net.seq(tag(net, 0), followed);
  if (choice !== 'auto') return net.define(atOnce);
  return net.define(options.answer === undefined ? freeText(net, followed) : net.alt(net.ruleCall(options.answer), atOnce));
}

/** Any text in which no call begins. */
export const plainText = (net: Net): number => net.define(freeText(net, () => {}));

/** A tag as text or as its special token. */
function tag(net: Net, index: number): Fragment {
  return (from, to) => {
    net.text(TAGS[index])(from, to);
    net.arc(from, FIRST_TAG + index, FIRST_TAG + index, to);
  };
}

/** Any tokens, even none; once the opening tag has appeared, `then`. Knuth, Morris and Pratt's automaton of the tag. */
function freeText(net: Net, then: Fragment): Fragment {
  return (start, end) => {
    const n = CALL_OPEN.length;
    const states = Array.from({ length: n + 1 }, () => net.state());
    const [from] = states;
    const to = states[n];
    net.skip(start, from);
    for (let i = 0; i < n; i++) net.skip(states[i], end);
    then(to, end);
    const next = (matched: string, c: string): number => {
      for (let text = matched + c; text.length > 0; text = text.slice(1)) if (CALL_OPEN.startsWith(text)) return text.length;
      return 0;
    };
    for (let i = 0; i < n; i++) {
      const matched = CALL_OPEN.slice(0, i);
      const special = [...new Set(CALL_OPEN)].map((c) => c.charCodeAt(0)).sort((a, b) => a - b);
      let lo = 0;
      for (const c of special) {
        if (c > lo) net.any(states[i], lo, c - 1, from);
        net.any(states[i], c, c, states[next(matched, String.fromCharCode(c))]);
        lo = c + 1;
      }
      net.any(states[i], lo, FIRST_TAG - 1, from);
      net.any(states[i], FIRST_TAG, FIRST_TAG, to);
      net.any(states[i], FIRST_TAG + 1, ALPHABET - 1, from);
    }
  };
}
