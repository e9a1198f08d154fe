import { type Dfa, toDfa } from './dfa.ts';
import { overlaps } from './exclusive.ts';
import { All, copyFlat, type Dict, down, type Flat, type Flattener, isDict, type Narrowing, type Node, newFlat, nodeKey } from './flat.ts';
import { formatDfa, formatNames } from './formats.ts';
import { HANDLERS } from './keywords.ts';
import { Budget, GrammarError, LIMITS, Unsupported } from './limits.ts';
import { negation, opposite, without } from './negate.ts';
import { Places } from './places.ts';
import { parseRegex } from './regex.ts';

/** Keywords that combine subschemas, or name places; `Schema.expand` follows them. Anything else unknown is an annotation. */
const COMBINING = new Set([
  ...['$ref', '$dynamicRef', '$recursiveRef', 'allOf', 'anyOf', 'oneOf', 'not', 'if', 'then', 'else'],
  ...['dependentRequired', 'dependentSchemas', 'dependencies', 'unevaluatedProperties', 'unevaluatedItems'],
]);

/** A schema document: resolves references and works out what a subschema asks for. */
export class Schema implements Flattener {
  readonly root: unknown;
  private readonly base: string;
  private readonly onUnsupported: ((pointer: string, keyword: string) => void) | undefined;
  private readonly dfas = new Map<string, Dfa>();
  readonly budget = new Budget();
  private readonly overlaps = new Map<string, number[][]>();
  private readonly places: Places;
  private alternatives = 0;
  private negations = 0;
  private readonly openWorld: boolean;

  /** `base` prefixes every pointer in errors. */
  constructor(root: unknown, base: string, open: boolean, onUnsupported: ((pointer: string, keyword: string) => void) | undefined) {
    this.root = root;
    this.base = base;
    this.openWorld = open;
    this.onUnsupported = onUnsupported;
    this.places = new Places(root, base);
  }

  /** JSON Schema's open world: without additionalProperties anything may be added, without type every type may come. */
  get open(): boolean {
    return this.openWorld || this.negations > 0;
  }

  /** Runs `f` in the open world: what must not be is read as the specification does. */
  openly<T>(f: () => T): T {
    if (this.negations >= LIMITS.negations) throw new GrammarError(this.base, 'not', `more than ${LIMITS.negations} within each other`);
    this.negations++;
    try {
      return f();
    } finally {
      this.negations--;
    }
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
    const todo = nodes.length === 1 ? [{ ...nodes[0], alone: true as const }] : [...nodes];
    const flats = this.expand(todo, new Set(), newFlat(nodes[0]?.at ?? this.base), 0);
    this.alternatives = outer;
    return flats;
  }

  private expand(todo: readonly Node[], seen: ReadonlySet<string>, flat: Flat, depth: number): Flat[] {
    const [node, ...rest] = todo;
    if (node === undefined) return [flat];
    const { schema, at } = node;
    const key = nodeKey(node);
    if (depth > LIMITS.depth * 4) throw new GrammarError(at, '', 'references and combinations nested too deep');
    if (seen.has(key)) return this.expand(rest, seen, flat, depth);
    const now = new Set([...seen, key]);
    if (node.not) return this.choose(negation(this, node), rest, now, flat, depth + 1);
    if (schema instanceof All) return this.expand([...schema.nodes, ...rest], now, flat, depth + 1);
    if (typeof schema === 'function') {
      (schema as Narrowing)(flat);
      return this.expand(rest, now, flat, depth + 1);
    }
    if (schema === false) return [];
    if (schema === true) return this.expand(rest, seen, flat, depth);
    if (!isDict(schema)) throw new GrammarError(at, '', 'a schema must be an object, true or false');
    const more: Node[] = [...rest];
    const choices: Node[][] = [];
    for (const [keyword, value] of Object.entries(schema)) {
      if (COMBINING.has(keyword)) this.combine(keyword, value, node, schema, flat, more, choices);
      else if (Object.hasOwn(HANDLERS, keyword)) HANDLERS[keyword](this, value, flat, node);
    }
    return this.choose(choices, more, now, flat, depth + 1);
  }

  /** One combining keyword: what must hold too goes to `more`, what has several ways to `choices`. */
  private combine(key: string, value: unknown, node: Node, schema: Dict, flat: Flat, more: Node[], choices: Node[][]): void {
    const { at } = node;
    const via = [...node.via, at];
    const inner = (s: unknown, ...keys: (string | number)[]): Node => ({ schema: s, at: down(at, ...keys), via });
    const all = (name: string, nodes: readonly Node[]): Node => ({ schema: new All(nodes), at: `${at}~#${name}`, via });
    const narrow = (name: string, schema: Narrowing): Node => ({ schema, at: `${at}~#${name}`, via });
    if (key === '$ref') {
      const plain = Object.keys(schema).every((k) => k === key || !(COMBINING.has(k) || Object.hasOwn(HANDLERS, k)));
      more.unshift({ ...this.resolve(value, node), ...(node.alone && plain && { alone: true }) });
    } else if (key === '$dynamicRef' || key === '$recursiveRef') {
      const only = this.places.onlyDynamic(value);
      if (only) more.unshift(this.resolve(only, node));
      else this.unsupported(at, key, 'not supported but where one subschema alone has that anchor');
    } else if (key === 'allOf') more.unshift(...list(value, at, key).map((s, i) => inner(s, key, i)));
    else if (key === 'anyOf') choices.push(list(value, at, key).map((s, i) => inner(s, key, i)));
    else if (key === 'oneOf')
      choices.push(
        this.oneOf(
          list(value, at, key).map((s, i) => inner(s, key, i)),
          at,
        ),
      );
    else if (key === 'not') more.unshift({ ...inner(value, key), not: true });
    else if (key === 'if' && ('then' in schema || 'else' in schema)) {
      const test = inner(value, 'if');
      const branch = (k: string) => (k in schema ? [inner(schema[k], k)] : []);
      choices.push([all('then', [test, ...branch('then')]), all('else', [opposite(test), ...branch('else')])]);
    } else if (key.startsWith('depend')) {
      if (!isDict(value)) throw new GrammarError(at, key, 'must be an object');
      flat.hints.add('object');
      for (const [name, then] of Object.entries(value)) {
        const names = Array.isArray(then) ? then : [];
        if (names.some((n) => typeof n !== 'string')) throw new GrammarError(down(at, key, name), '', 'must be an array of strings');
        const required = narrow(`with ${key} ${name}`, (f) => {
          for (const n of [name, ...names]) f.object.required.add(n);
        });
        const present = Array.isArray(then) ? required : all(`so ${key} ${name}`, [required, inner(then, key, name)]);
        choices.push([narrow(`no ${key} ${name}`, without(name, at)), present]);
      }
    } else if (key.startsWith('unevaluated')) this.unevaluated(key, inner(value, key), node, schema, flat);
  }

  /** Exactly one of these. */
  private oneOf(branches: readonly Node[], at: string): Node[] {
    const key = `${this.open} ${at}`;
    const known = this.overlaps.get(key) ?? overlaps(this, branches);
    this.overlaps.set(key, known);
    return branches.map((b, i) =>
      known[i].length === 0
        ? b
        : { schema: new All([b, ...known[i].map((j) => opposite(branches[j]))]), at: `${at}~#one ${i}`, via: b.via },
    );
  }

  /** What its subschemas leave unevaluated; known where nothing beside this schema asks anything of the value. */
  private unevaluated(key: string, rest: Node, node: Node, schema: Dict, flat: Flat): void {
    if (rest.schema === true) return;
    const part = key === 'unevaluatedProperties' ? flat.object : flat.array;
    if (!node.alone) this.unsupported(node.at, key, 'not supported where other subschemas speak of the same value');
    else if (key === 'unevaluatedItems' && 'contains' in schema) this.unsupported(node.at, key, 'not supported beside contains');
    else part.unevaluated = rest;
    flat.hints.add(key === 'unevaluatedProperties' ? 'object' : 'array');
  }

  private choose(choices: readonly Node[][], todo: readonly Node[], seen: ReadonlySet<string>, flat: Flat, depth: number): Flat[] {
    const [first, ...others] = choices;
    if (!first) return this.expand(todo, seen, flat, depth);
    return first.flatMap((branch) => {
      if (++this.alternatives > LIMITS.alternatives) {
        throw new GrammarError(flat.at, 'anyOf', `more than ${LIMITS.alternatives} alternatives once combined`);
      }
      return this.choose(others, [...todo, branch], seen, copyFlat(flat), depth);
    });
  }

  private resolve(ref: unknown, from: Node): Node {
    if (typeof ref !== 'string') throw new GrammarError(from.at, '$ref', 'must be a string');
    const { at, schema } = this.places.find(ref, from.at);
    if (from.via.includes(at) || at === from.at) throw new GrammarError(from.at, '$ref', `"${ref}" leads back to itself`);
    return { schema, at, via: [...from.via, from.at, at] };
  }

  /** The automaton of a pattern, compiled once; undefined where it is left out. */
  pattern(source: unknown, at: string): Dfa | undefined {
    if (typeof source !== 'string') throw new GrammarError(at, 'pattern', 'must be a string');
    if (source.length > LIMITS.patternChars) throw new GrammarError(at, 'pattern', `longer than ${LIMITS.patternChars} characters`);
    const key = `p${source}`;
    const known = this.dfas.get(key);
    if (known) return known;
    try {
      const dfa = located(at, 'pattern', () => toDfa(parseRegex(source, at, true), this.budget));
      this.dfas.set(key, dfa);
      return dfa;
    } catch (e) {
      if (!(e instanceof Unsupported)) throw e;
      this.unsupported(at, 'pattern', e.reason);
      return undefined;
    }
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

function list(value: unknown, at: string, key: string): unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw new GrammarError(at, key, 'must be a non-empty array of schemas');
  return value;
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
