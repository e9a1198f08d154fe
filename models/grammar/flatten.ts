import { ANY } from './charset.ts';
import { type Dfa, lengths, toDfa } from './dfa.ts';
import { exclusive } from './exclusive.ts';
import { copyFlat, type Dict, down, type Flat, isDict, type Node, newFlat, sameJson } from './flat.ts';
import { formatDfa, formatNames } from './formats.ts';
import { HANDLERS } from './keywords.ts';
import { Budget, GrammarError, LIMITS } from './limits.ts';
import { parseRegex } from './regex.ts';

/** Keywords with a meaning that no token mask enforces here; anything else unknown is an annotation, as JSON Schema has it. */
const UNSUPPORTED: Record<string, string> = Object.fromEntries(
  [
    ...['not', 'if', 'dependentRequired', 'dependentSchemas', 'dependencies', 'contains', 'unevaluatedProperties', 'unevaluatedItems'],
    ...['$dynamicRef', '$recursiveRef'],
  ].map((k) => [k, 'not supported']),
);

/** A schema document: resolves references and works out what a subschema asks for. */
export class Schema {
  readonly root: unknown;
  private readonly base: string;
  private readonly onUnsupported: ((pointer: string, keyword: string) => void) | undefined;
  private readonly dfas = new Map<string, Dfa>();
  readonly budget = new Budget();
  private readonly checked = new Set<string>();
  private alternatives = 0;
  /** JSON Schema's open world: without additionalProperties anything may be added, without type every type may come. */
  readonly open: boolean;

  /** `base` prefixes every pointer in errors. */
  constructor(root: unknown, base: string, open: boolean, onUnsupported: ((pointer: string, keyword: string) => void) | undefined) {
    this.root = root;
    this.base = base;
    this.open = open;
    this.onUnsupported = onUnsupported;
  }

  top(): Node {
    return { schema: this.root, at: this.base, via: [] };
  }

  unsupported(at: string, keyword: string, reason: string): void {
    if (!this.onUnsupported) throw new GrammarError(at, keyword, reason);
    this.onUnsupported(at, keyword);
  }

  /** The alternatives of a value that must satisfy all of these nodes. None: no value does. */
  flatten(nodes: readonly Node[]): Flat[] {
    const outer = this.alternatives;
    this.alternatives = 0;
    const flats = this.expand([...nodes], new Set(), newFlat(nodes[0]?.at ?? this.base), 0);
    this.alternatives = outer;
    return flats;
  }

  private expand(todo: readonly Node[], seen: ReadonlySet<string>, flat: Flat, depth: number): Flat[] {
    const [node, ...rest] = todo;
    if (node === undefined) return [flat];
    const { schema, at, via } = node;
    if (depth > LIMITS.depth * 4) throw new GrammarError(at, '', 'references and combinations nested too deep');
    if (schema === false) return [];
    if (schema === true || seen.has(at)) return this.expand(rest, seen, flat, depth);
    if (!isDict(schema)) throw new GrammarError(at, '', 'a schema must be an object, true or false');
    const more: Node[] = [...rest];
    const choices: Node[][] = [];
    const inner = (key: string, i: number | string, s: unknown): Node => ({ schema: s, at: down(at, key, i), via: [...via, at] });
    for (const [key, value] of Object.entries(schema)) {
      if (key === '$ref') more.unshift(this.resolve(value, node));
      else if (key === '$id' && at !== this.base) this.unsupported(at, key, 'only at the root');
      else if (key === 'allOf') more.unshift(...this.list(value, at, key).map((s, i) => inner(key, i, s)));
      else if (key === 'anyOf' || key === 'oneOf') {
        const branches = this.list(value, at, key).map((s, i) => inner(key, i, s));
        if (key === 'oneOf') this.checkOneOf(branches, at);
        choices.push(branches);
      } else if (Object.hasOwn(UNSUPPORTED, key)) this.unsupported(at, key, UNSUPPORTED[key]);
      else if (Object.hasOwn(HANDLERS, key)) HANDLERS[key](this, value, flat, node);
    }
    return this.choose(choices, more, new Set([...seen, at]), flat, depth + 1);
  }

  private choose(choices: readonly Node[][], todo: readonly Node[], seen: ReadonlySet<string>, flat: Flat, depth: number): Flat[] {
    const [first, ...others] = choices;
    if (!first) return this.expand(todo, seen, flat, depth);
    return first.flatMap((branch) => {
      if (++this.alternatives > LIMITS.alternatives) {
        throw new GrammarError(flat.at, 'anyOf', `more than ${LIMITS.alternatives} alternatives once combined`);
      }
      return this.choose(others, [branch, ...todo], seen, copyFlat(flat), depth);
    });
  }

  /** oneOf is followed as anyOf, so no two branches may accept one value. */
  private checkOneOf(branches: readonly Node[], at: string): void {
    if (this.checked.has(at)) return;
    this.checked.add(at);
    if (!exclusive(this, branches)) {
      this.unsupported(at, 'oneOf', 'two branches may accept the same value; use anyOf, or tell them apart by type or by a required const');
    }
  }

  private list(value: unknown, at: string, key: string): unknown[] {
    if (!Array.isArray(value) || value.length === 0) throw new GrammarError(at, key, 'must be a non-empty array of schemas');
    return value;
  }

  private resolve(ref: unknown, from: Node): Node {
    if (typeof ref !== 'string') throw new GrammarError(from.at, '$ref', 'must be a string');
    if (ref !== '#' && !ref.startsWith('#/'))
      throw new GrammarError(from.at, '$ref', `"${ref.slice(0, 80)}": only references within the document, such as "#/$defs/name"`);
    const at = this.base + ref.slice(1);
    if (from.via.includes(at) || at === from.at) throw new GrammarError(from.at, '$ref', `"${ref}" leads back to itself`);
    let here: unknown = this.root;
    for (const part of ref
      .slice(2)
      .split('/')
      .slice(ref === '#' ? 1 : 0)) {
      let key = part;
      try {
        key = decodeURIComponent(part);
      } catch {} // a stray % stands for itself
      key = key.replaceAll('~1', '/').replaceAll('~0', '~');
      if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key))
        throw new GrammarError(from.at, '$ref', `"${ref.slice(0, 80)}" does not exist`);
      here = (here as Dict)[key];
    }
    return { schema: here, at, via: [...from.via, from.at, at] };
  }

  /** The automaton of a pattern, compiled once. */
  pattern(source: unknown, at: string): Dfa {
    if (typeof source !== 'string') throw new GrammarError(at, 'pattern', 'must be a string');
    if (source.length > LIMITS.patternChars) throw new GrammarError(at, 'pattern', `longer than ${LIMITS.patternChars} characters`);
    const key = `p${source}`;
    const dfa = this.dfas.get(key) ?? located(at, 'pattern', () => toDfa(parseRegex(source, at, true), this.budget));
    this.dfas.set(key, dfa);
    return dfa;
  }

  format(name: string, at: string): Dfa | undefined {
    const known = this.dfas.get(`f${name}`);
    if (known) return known;
    const dfa = formatDfa(name);
    if (!dfa) {
      this.unsupported(at, 'format', `"${name.slice(0, 40)}" is not enforced; known are ${formatNames.join(', ')}`);
      return undefined;
    }
    this.dfas.set(`f${name}`, dfa);
    return dfa;
  }
}

/** Runs `f`, giving errors that do not know their place the one they have. */
export function located<T>(at: string, keyword: string, f: () => T): T {
  try {
    return f();
  } catch (e) {
    if (e instanceof GrammarError && e.pointer === '' && e.keyword === '')
      throw new GrammarError(at, keyword, e.message.replace(/^at the root: /, ''));
    throw e;
  }
}

/** The automata a string of this flat schema must satisfy; none when its character set and length say all. */
export function stringDfas(f: Flat): Dfa[] {
  const { dfas, chars, min, max } = f.string;
  const plain = sameJson(chars, ANY) && min === 0 && max === Infinity;
  return dfas.length === 0 || plain ? dfas : [...dfas, lengths(chars, min, max)];
}
