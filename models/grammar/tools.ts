import { SchemaBuilder } from './build.ts';
import { DIALECTS, type Dialect, type DialectName } from './dialects/index.ts';
import { Schema } from './flatten.ts';
import { freeText, type Trigger } from './free.ts';
import { GrammarError, LIMITS } from './limits.ts';
import type { Fragment, Net } from './net.ts';
import { tag } from './tags.ts';

export interface ToolSpec {
  name: string;
  /** JSON schema of the arguments, an object; absent: no arguments, `{}`. */
  parameters?: unknown;
  /** Parameters that are text and nothing else: a dialect may write them as they are. */
  texts?: readonly string[];
}

export type ToolChoice = 'auto' | 'required' | { name: string };

/** Options of tools as the compiler takes them. */
export interface ToolsOptions extends Omit<RuleOptions, 'answer'> {
  /** With `auto`: what is said instead of a call, in place of any text. */
  answer?: AnswerForm;
}

/** JSON of a schema or any object, a text that matches a pattern, one of some texts, or a text of a grammar. */
export type AnswerForm =
  | { schema: unknown; onUnsupported?: RuleOptions['onUnsupported'] }
  | { object: true }
  | { regex: string }
  | { choice: readonly string[] }
  | { gbnf: string };

interface RuleOptions {
  /** How the model writes calls. Default hermes. */
  dialect?: DialectName;
  /** Several calls, one after the other. Default true. */
  parallel?: boolean;
  open?: boolean;
  onUnsupported?: (pointer: string, keyword: string) => void;
  /** With `auto`: the rule of what may be said instead of a call, in place of any text. */
  answer?: number;
}

/**
 * auto: any text (or `answer`), until a call begins, with its dialect's tag or as JSON that is the whole text; required or named: a call
 * at once. After a call only further calls or the end may come. Returns the root rule.
 */
export function toolsRule(net: Net, tools: readonly ToolSpec[], choice: ToolChoice, options: RuleOptions): number {
  if (tools.length === 0) throw new GrammarError('/tools', '', 'no tools are given');
  if (tools.length > LIMITS.tools) throw new GrammarError('/tools', '', `${tools.length} tools, at most ${LIMITS.tools}`);
  const chosen = typeof choice === 'object' ? tools.filter((t) => t.name === choice.name) : tools;
  if (typeof choice === 'object' && chosen.length === 0)
    throw new GrammarError('/tool_choice', '', `there is no tool named "${choice.name.slice(0, 64)}"`);
  const dialect: Dialect = DIALECTS[options.dialect ?? 'hermes'];
  const callable = chosen.map((t) => {
    const base = `/tools/${tools.indexOf(t)}/parameters`;
    const schema = new Schema(
      t.parameters ?? { type: 'object', properties: {}, additionalProperties: false },
      base,
      options.open ?? false,
      options.onUnsupported,
    );
    const builder = new SchemaBuilder(net, schema, dialect.syntax);
    const nodes = [schema.top(), { schema: { type: 'object' }, at: `${base}#object`, via: [] }];
    return { name: t.name, args: dialect.args?.(builder, nodes, new Set(t.texts)) ?? builder.rule(nodes) };
  });
  const calls = dialect.calls(net, callable, options.parallel ?? true);
  const atOnce = dialect.open ? net.seq(tag(net, dialect.open), calls) : calls;
  if (choice !== 'auto') return net.define(atOnce);
  if (options.answer !== undefined) return net.define(net.alt(net.ruleCall(options.answer), atOnce));
  const bare = dialect.syntax || dialect.args ? [] : callable; // JSON that is the whole text is a call too
  return net.define(freeText(net, triggersOf(dialect, calls), bare));
}

/** Any text in which no call begins. */
export const plainText = (net: Net, dialect: DialectName = 'hermes'): number =>
  net.define(
    freeText(
      net,
      triggersOf(DIALECTS[dialect], () => {}),
    ),
  );

const triggersOf = (dialect: Dialect, then: Fragment): Trigger[] =>
  [...(dialect.open ? [dialect.open] : []), ...(dialect.alsoOpen ?? [])].map((tag) => ({ tag, then }));
