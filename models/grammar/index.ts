/**
 * Token masks from JSON schemas and tool definitions, so that whatever the sampler draws is valid: see README.md for what is supported.
 * Pure TypeScript, synchronous, no platform types: the same in workerd, browsers and Node.
 */
import { SchemaBuilder } from './build.ts';
import { type Grammar, makeGrammar } from './constraint.ts';
import { type Dfa, toDfa, words } from './dfa.ts';
import type { DialectName } from './dialects/index.ts';
import { located, Schema } from './flatten.ts';
import { gbnfRule } from './gbnf.ts';
import { GrammarError, LIMITS } from './limits.ts';
import type { MaskLimits } from './masks.ts';
import { Net } from './net.ts';
import { compileNet } from './program.ts';
import { parseRegex } from './regex.ts';
import { PlainTokens } from './runs.ts';
import { TAGS } from './tags.ts';
import { type AnswerForm, plainText, type ToolChoice, type ToolSpec, type ToolsOptions, toolsRule } from './tools.ts';
import { buildTrie, type GrammarVocab, spellable } from './trie.ts';

export type { Grammar, GrammarConstraint } from './constraint.ts';
export { DIALECT_NAMES, type DialectName, dialectOf } from './dialects/index.ts';
export { GrammarError } from './limits.ts';
export { TAGS } from './tags.ts';
export type { AnswerForm, ToolChoice, ToolSpec, ToolsOptions } from './tools.ts';
export type { GrammarVocab } from './trie.ts';

export interface SchemaOptions {
  /**
   * Read the schema with JSON Schema's open world: objects take further properties unless additionalProperties is false, and a schema
   * without a type takes every type. Default false: only declared properties, and the type its keywords speak of.
   */
  open?: boolean;
  /** Called for each keyword that cannot be enforced, which is then left out; without it such a schema is refused. */
  onUnsupported?: (pointer: string, keyword: string) => void;
}

export interface GrammarCompiler {
  /** Throws GrammarError when the schema is wrong, unsupported, unsatisfiable or too large. */
  jsonSchema(schema: unknown, options?: SchemaOptions): Grammar;
  /** Any JSON object. */
  jsonObject(): Grammar;
  tools(tools: readonly ToolSpec[], choice: ToolChoice, options?: ToolsOptions): Grammar;
  /** Any text in which no tool call begins. */
  plainText(dialect?: DialectName): Grammar;
  /** The whole text matches an ECMAScript pattern (the subset in README.md). Text is UTF-8. */
  regex(pattern: string): Grammar;
  /** One of these texts. */
  choice(texts: readonly string[]): Grammar;
  /** A text of a grammar in llama.cpp's GBNF. */
  gbnf(source: string): Grammar;
  /** Any of these forms. */
  answer(form: AnswerForm): Grammar;
}

export interface CompilerLimits extends MaskLimits {
  /** Compiled grammars kept for schemas that come again. Default 8. */
  grammars?: number;
}

/** Automata kept for schemas that come again; larger ones are compiled again. */
const KEPT_BYTES = 4 << 20;

/**
 * Built once for a model: about 18 bytes of trie for each distinct token prefix (50k tokens: 1.9 MB). Characters of which the vocabulary
 * has no token for some byte are never offered as themselves, because a mask could then become empty.
 */
export function createGrammarCompiler(vocab: GrammarVocab, limits: CompilerLimits = {}): GrammarCompiler {
  const trie = buildTrie(vocab, TAGS);
  const plain = new PlainTokens(trie);
  const alone = spellable(trie);
  const kept = new Map<string, Grammar>(); // least recently used first
  const cached = (key: string, make: () => Grammar): Grammar => {
    const grammar = kept.get(key) ?? make();
    kept.delete(key);
    kept.set(key, grammar);
    let total = [...kept.values()].reduce((n, g) => n + g.bytes, 0);
    for (const [old, g] of kept) {
      if (kept.size <= (limits.grammars ?? 8) && total <= KEPT_BYTES) break;
      kept.delete(old);
      total -= g.bytes;
    }
    return grammar;
  };
  const build = (rule: (net: Net) => number, ignored: readonly string[] = []): Grammar => {
    const net = new Net(alone);
    const root = rule(net);
    return makeGrammar(compileNet(net, root), vocab, trie, plain, limits, ignored);
  };
  /** Notes what is left out, so that a cached grammar can tell again. */
  const noting = (on: SchemaOptions['onUnsupported'], ignored: string[] = []) => {
    if (!on) return { ignored, onUnsupported: undefined };
    const note = (pointer: string, keyword: string) => {
      const line = `${pointer.replace(/~#.*$/s, '')} ${keyword}`;
      if (!ignored.includes(line)) ignored.push(line);
    };
    return { ignored, onUnsupported: note };
  };
  const report = (grammar: Grammar, on: SchemaOptions['onUnsupported']): Grammar => {
    for (const line of grammar.ignored) on?.(line.slice(0, line.lastIndexOf(' ')), line.slice(line.lastIndexOf(' ') + 1));
    return grammar;
  };

  const schemaRule = (net: Net, schema: unknown, open: boolean, note: SchemaOptions['onUnsupported']): number => {
    const document = new Schema(schema, '', open, note);
    return new SchemaBuilder(net, document).rule([document.top()]);
  };
  const objectRule = (net: Net): number =>
    new SchemaBuilder(net, new Schema(true, '', true, undefined)).rule([{ schema: { type: 'object' }, at: '', via: [] }]);

  const answerRule = (net: Net, answer: AnswerForm, open: boolean): number => {
    if ('schema' in answer) return schemaRule(net, answer.schema, open, answer.onUnsupported);
    if ('regex' in answer) return regexRule(net, answer.regex);
    if ('choice' in answer) return choiceRule(net, answer.choice);
    return 'gbnf' in answer ? gbnfRule(net, answer.gbnf) : objectRule(net);
  };

  const compiler: GrammarCompiler = {
    jsonSchema(schema, options = {}) {
      const { open = false, onUnsupported } = options;
      const make = () => {
        const { ignored, onUnsupported: note } = noting(onUnsupported);
        return build((net) => schemaRule(net, schema, open, note), ignored);
      };
      return report(cached(`s${open}${!onUnsupported}${textOf(schema, '')}`, make), onUnsupported);
    },
    jsonObject: () => cached('o', () => build(objectRule)),
    plainText: (dialect = 'hermes') => cached(`p${dialect}`, () => build((net) => plainText(net, dialect))),
    tools(tools, choice, options = {}) {
      const { parallel = true, open = false, onUnsupported, answer, dialect = 'hermes' } = options;
      const make = () => {
        const { ignored, onUnsupported: note } = noting(onUnsupported);
        const of = answer && 'schema' in answer ? { ...answer, ...noting(answer.onUnsupported, ignored) } : answer;
        return build((net) => {
          const said = of && answerRule(net, of, open);
          return toolsRule(net, tools, choice, { dialect, parallel, open, onUnsupported: note, answer: said });
        }, ignored);
      };
      const said = answer && 'schema' in answer ? `${!answer.onUnsupported}${textOf(answer.schema, '')}` : JSON.stringify(answer);
      const given = textOf(
        tools.map((t) => [t.name, t.parameters, t.texts]),
        '/tools',
      );
      return report(cached(`t${dialect} ${parallel}${open}${!onUnsupported}${JSON.stringify(choice)}${said}${given}`, make), onUnsupported);
    },
    regex: (pattern) => cached(`r${pattern}`, () => build((net) => regexRule(net, pattern))),
    choice: (texts) => cached(`c${JSON.stringify(texts)}`, () => build((net) => choiceRule(net, texts))),
    gbnf: (source) => cached(`g${source}`, () => build((net) => gbnfRule(net, source))),
    answer(form) {
      if ('schema' in form) return compiler.jsonSchema(form.schema, { onUnsupported: form.onUnsupported });
      if ('regex' in form) return compiler.regex(form.regex);
      if ('choice' in form) return compiler.choice(form.choice);
      return 'gbnf' in form ? compiler.gbnf(form.gbnf) : compiler.jsonObject();
    },
  };
  return compiler;
}

function regexRule(net: Net, pattern: string): number {
  if (pattern.length > LIMITS.patternChars) throw new GrammarError('', 'pattern', `longer than ${LIMITS.patternChars} characters`);
  return wholeText(
    net,
    located('', 'pattern', () => toDfa(parseRegex(pattern, '', false))),
  );
}

function choiceRule(net: Net, texts: readonly string[]): number {
  if (texts.length === 0 || texts.length > LIMITS.enumValues)
    throw new GrammarError('', 'choice', `${texts.length} texts, must be 1 to ${LIMITS.enumValues}`);
  return wholeText(
    net,
    located('', 'choice', () => words(texts)),
  );
}

/** A text in UTF-8 that an automaton accepts. */
const wholeText = (net: Net, dfa: Dfa): number =>
  net.define((from, to) => {
    const states = dfa.edges.map(() => net.state());
    net.skip(from, states[0]);
    dfa.edges.forEach((edges, i) => {
      for (const e of edges) net.utf8(e.set)(states[i], states[e.to]);
      if (dfa.accept[i]) net.skip(states[i], to);
    });
  });

function textOf(schema: unknown, at: string): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(schema);
  } catch {
    throw new GrammarError(at, '', 'not JSON, or nested too deep');
  }
  if (text === undefined) throw new GrammarError(at, '', 'a schema must be an object, true or false');
  if (text.length > LIMITS.schemaChars)
    throw new GrammarError(at, '', `${text.length} characters of schema, at most ${LIMITS.schemaChars}`);
  return text;
}
