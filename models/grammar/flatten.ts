import { ANY } from './charset.ts';
import { type Dfa, lengths, toDfa } from './dfa.ts';
import { exclusive } from './exclusive.ts';
import {
  copyFlat,
  type Dict,
  type Flat,
  isDict,
  type JsonType,
  type Node,
  narrowChars,
  narrowNumber,
  narrowTypes,
  narrowValues,
  newFlat,
  sameJson,
} from './flat.ts';
import { formatDfa, formatNames } from './formats.ts';
import { Budget, GrammarError, LIMITS } from './limits.ts';
import { parseRegex } from './regex.ts';

const TYPES: ReadonlySet<string> = new Set(['null', 'boolean', 'object', 'array', 'number', 'integer', 'string']);
/** Keywords with a meaning that no token mask enforces here; anything else unknown is an annotation, as JSON Schema has it. */
const UNSUPPORTED: Record<string, string> = Object.fromEntries(
  [
    ...['not', 'if', 'dependentRequired', 'dependentSchemas', 'dependencies', 'contains', 'unevaluatedProperties', 'unevaluatedItems'],
    ...['$dynamicRef', '$recursiveRef'],
  ].map((k) => [k, 'not supported']),
);

type Handler = (s: Schema, value: unknown, flat: Flat, node: Node) => void;

/** A JSON pointer one step down (RFC 6901). */
export const down = (at: string, ...keys: (string | number)[]): string =>
  at + keys.map((k) => `/${String(k).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');

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

function count(value: unknown, at: string, key: string): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0)
    throw new GrammarError(at, key, 'must be a whole number, 0 or more');
  if (value > LIMITS.count) throw new GrammarError(at, key, `${value} is more than the ${LIMITS.count} that are supported`);
  return value;
}

function finite(value: unknown, at: string, key: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new GrammarError(at, key, 'must be a number');
  return value;
}

type Counted = 'string' | 'object' | 'array';
const atLeast =
  (part: Counted, key: string): Handler =>
  (_, v, f, n) => {
    f[part].min = Math.max(f[part].min, count(v, n.at, key));
    f.hints.add(part);
  };
const atMost =
  (part: Counted, key: string): Handler =>
  (_, v, f, n) => {
    f[part].max = Math.min(f[part].max, count(v, n.at, key));
    f.hints.add(part);
  };
const bound =
  (key: string, side: 'lo' | 'hi', open: boolean): Handler =>
  (_, v, f, n) => {
    const also = isDict(n.schema) && n.schema[side === 'lo' ? 'exclusiveMinimum' : 'exclusiveMaximum'] === true; // draft 4
    if (v === true || v === false) return;
    narrowNumber(f, finite(v, n.at, key), side, open || also);
    f.hints.add('number');
  };
const child = (n: Node, schema: unknown, ...keys: (string | number)[]): Node => ({ schema, at: down(n.at, ...keys), via: [] });

const objectPart: Handler = (s, _, f, n) => {
  const o = n.schema as Dict;
  const first = ['properties', 'patternProperties', 'additionalProperties'].find((k) => k in o);
  f.hints.add('object');
  if (f.object.parts.some((p) => partOf.get(p) === n.schema) || first === undefined) return;
  for (const key of ['properties', 'patternProperties'])
    if (key in o && !isDict(o[key])) throw new GrammarError(n.at, key, 'must be an object');
  const part = {
    properties: new Map(Object.entries((o.properties ?? {}) as Dict).map(([k, v]) => [k, child(n, v, 'properties', k)])),
    patterns: Object.entries((o.patternProperties ?? {}) as Dict).map(([p, v]) => {
      const node = child(n, v, 'patternProperties', p);
      return { dfa: s.pattern(p, node.at), node };
    }),
    ...('additionalProperties' in o ? { additional: child(n, o.additionalProperties, 'additionalProperties') } : {}),
  };
  partOf.set(part, n.schema);
  f.object.parts.push(part);
};
/** The schema an object part was read from: its three keywords make one part. */
const partOf = new WeakMap<object, unknown>();

const arrayPart: Handler = (_, __, f, n) => {
  const o = n.schema as Dict;
  f.hints.add('array');
  if (f.array.parts.some((p) => partOf.get(p) === n.schema)) return;
  const tuple = Array.isArray(o.items); // before 2020-12
  const key = tuple ? 'items' : 'prefixItems';
  const rest = tuple ? 'additionalItems' : 'items';
  if (o.prefixItems !== undefined && !Array.isArray(o.prefixItems))
    throw new GrammarError(n.at, 'prefixItems', 'must be an array of schemas');
  const part = {
    prefix: ((o[key] ?? []) as unknown[]).map((v, i) => child(n, v, key, i)),
    ...(rest in o ? { items: child(n, o[rest], rest) } : {}),
  };
  partOf.set(part, n.schema);
  f.array.parts.push(part);
};

const HANDLERS: Record<string, Handler> = {
  type: (_, v, f, n) => {
    const list = Array.isArray(v) ? v : [v];
    for (const t of list)
      if (!TYPES.has(t)) throw new GrammarError(n.at, 'type', `${JSON.stringify(t)?.slice(0, 40)} is no JSON Schema type`);
    const types = new Set(list as JsonType[]);
    if (isDict(n.schema) && n.schema.nullable === true) types.add('null'); // OpenAPI 3.0
    narrowTypes(f, types);
  },
  enum: (_, v, f, n) => {
    if (!Array.isArray(v)) throw new GrammarError(n.at, 'enum', 'must be an array');
    if (v.length > LIMITS.enumValues) throw new GrammarError(n.at, 'enum', `${v.length} values, at most ${LIMITS.enumValues}`);
    narrowValues(f, v);
  },
  const: (_, v, f) => narrowValues(f, [v]),
  minLength: atLeast('string', 'minLength'),
  maxLength: atMost('string', 'maxLength'),
  pattern: (s, v, f, n) => {
    const loop = typeof v === 'string' ? /^\^(\[(?:[^\]\\]|\\.)+\]|\\[dwsDWS]|\.)(?:[*+]|\{\d+(?:,\d*)?\})\$$/.exec(v) : null;
    f.hints.add('string');
    const parsed = loop && parseRegex((v as string).slice(1, -1), n.at, false);
    const repeat = parsed?.kind === 'seq' ? parsed.parts[0] : undefined;
    if (repeat?.kind === 'repeat' && repeat.of.kind === 'set') narrowChars(f, repeat.of.set, repeat.min, repeat.max);
    else f.string.dfas.push(s.pattern(v, n.at));
  },
  format: (s, v, f, n) => {
    const dfa = typeof v === 'string' ? s.format(v, n.at) : undefined;
    if (dfa) f.string.dfas.push(dfa);
    if (dfa) f.hints.add('string');
  },
  minimum: bound('minimum', 'lo', false),
  maximum: bound('maximum', 'hi', false),
  exclusiveMinimum: bound('exclusiveMinimum', 'lo', true),
  exclusiveMaximum: bound('exclusiveMaximum', 'hi', true),
  multipleOf: (_, v, f, n) => {
    if (finite(v, n.at, 'multipleOf') <= 0) throw new GrammarError(n.at, 'multipleOf', 'must be more than 0');
    f.number.steps.push(v as number);
    f.hints.add('number');
  },
  properties: objectPart,
  patternProperties: objectPart,
  additionalProperties: objectPart,
  required: (_, v, f, n) => {
    if (!Array.isArray(v) || v.some((k) => typeof k !== 'string')) throw new GrammarError(n.at, 'required', 'must be an array of strings');
    for (const k of v) f.object.required.add(k);
    f.hints.add('object');
  },
  propertyNames: (_, v, f, n) => {
    f.object.names.push(child(n, v, 'propertyNames'));
    f.hints.add('object');
  },
  minProperties: atLeast('object', 'minProperties'),
  maxProperties: atMost('object', 'maxProperties'),
  items: arrayPart,
  prefixItems: arrayPart,
  minItems: atLeast('array', 'minItems'),
  maxItems: atMost('array', 'maxItems'),
  uniqueItems: (s, v, _, n) => {
    if (v === true) s.unsupported(n.at, 'uniqueItems', 'not supported');
  },
};

/** The automata a string of this flat schema must satisfy; none when its character set and length say all. */
export function stringDfas(f: Flat): Dfa[] {
  const { dfas, chars, min, max } = f.string;
  const plain = sameJson(chars, ANY) && min === 0 && max === Infinity;
  return dfas.length === 0 || plain ? dfas : [...dfas, lengths(chars, min, max)];
}
