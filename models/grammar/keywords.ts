import {
  type Dict,
  down,
  type Flat,
  type Flattener,
  isDict,
  type JsonType,
  type Node,
  narrowChars,
  narrowNumber,
  narrowTypes,
  narrowValues,
} from './flat.ts';
import { GrammarError, LIMITS } from './limits.ts';
import { parseRegex } from './regex.ts';

const TYPES: ReadonlySet<string> = new Set(['null', 'boolean', 'object', 'array', 'number', 'integer', 'string']);
/** What one keyword asks of a value, written into a flat schema. */
export type Handler = (s: Flattener, value: unknown, flat: Flat, node: Node) => void;

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
    declares: 'properties' in o || 'patternProperties' in o,
    properties: new Map(Object.entries((o.properties ?? {}) as Dict).map(([k, v]) => [k, child(n, v, 'properties', k)])),
    patterns: Object.entries((o.patternProperties ?? {}) as Dict).flatMap(([p, v]) => {
      const node = child(n, v, 'patternProperties', p);
      const dfa = s.pattern(p, node.at);
      return dfa ? [{ dfa, node }] : [];
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

/** The keywords that are enforced, without the references and combinations. */
export const HANDLERS: Readonly<Record<string, Handler>> = {
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
    else {
      const dfa = s.pattern(v, n.at);
      if (dfa) f.string.dfas.push(dfa);
    }
  },
  format: (s, v, f, n) => {
    const dfa = typeof v === 'string' && ofStrings(n.schema) ? s.format(v, n.at) : undefined;
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
  uniqueItems: (_, v, f) => {
    if (v !== true) return;
    f.array.unique = true;
    f.hints.add('array');
  },
  contains: (_, v, f, n) => {
    const { minContains = 1, maxContains = Number.POSITIVE_INFINITY } = n.schema as Dict;
    const min = count(minContains, n.at, 'minContains');
    const max = maxContains === Number.POSITIVE_INFINITY ? maxContains : count(maxContains, n.at, 'maxContains');
    f.array.contains.push({ node: child(n, v, 'contains'), min, max: max as number });
    f.hints.add('array');
  },
};

/** Whether a schema may take strings: a format says nothing of other values (`{"type": "integer", "format": "int32"}`). */
function ofStrings(schema: unknown): boolean {
  const type = isDict(schema) ? schema.type : undefined;
  return type === undefined || type === 'string' || (Array.isArray(type) && type.includes('string'));
}
