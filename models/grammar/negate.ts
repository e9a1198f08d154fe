import { ANY } from './charset.ts';
import { fits } from './check.ts';
import { complement, lengths, words } from './dfa.ts';
import {
  type Flat,
  type Flattener,
  isDict,
  type JsonType,
  type Narrowing,
  type Node,
  narrowNumber,
  narrowTypes,
  sameJson,
  typesOf,
} from './flat.ts';

const TYPES: readonly JsonType[] = ['null', 'boolean', 'object', 'array', 'number', 'string'];

/**
 * What a value that does not satisfy `node` satisfies: of each list at least one. Exact where it can be; where the opposite of a
 * keyword has no grammar (`propertyNames`, undeclared names) fewer values are left, never a wrong one.
 */
export function negation(schema: Flattener, node: Node): Node[][] {
  const { not: _, ...positive } = node;
  return schema.openly(() => schema.flatten([positive]).map((f, i) => opposites(schema, f, node, i)));
}

/** The ways to fail one alternative. */
function opposites(schema: Flattener, f: Flat, node: Node, i: number): Node[] {
  const out: Node[] = [];
  const way = (type: JsonType | undefined, narrow: Narrowing) => {
    const narrowing: Narrowing = (flat) => {
      if (type) narrowTypes(flat, new Set([type]));
      narrow(flat);
    };
    out.push({ schema: narrowing, at: `${node.at}~#${i}.${out.length}`, via: node.via });
  };
  if (f.values) {
    const taken = f.values.filter((v) => fits(schema, f, v));
    way(undefined, (flat) => exclude(flat, taken));
    return out;
  }
  const types = typesOf(f, true);
  const others = new Set(TYPES.filter((t) => !types.has(t) && !(t === 'number' && types.has('integer'))));
  if (others.size > 0) way(undefined, (flat) => narrowTypes(flat, others));
  if (types.has('string')) {
    const { dfas, chars, min, max } = f.string;
    if (min > 0) way('string', (x) => (x.string.max = Math.min(x.string.max, min - 1)));
    if (max < Infinity) way('string', (x) => (x.string.min = Math.max(x.string.min, max + 1)));
    for (const dfa of dfas) way('string', (x) => x.string.dfas.push(complement(dfa)));
    if (!sameJson(chars, ANY)) way('string', (x) => x.string.dfas.push(complement(lengths(chars, 0, Infinity))));
  }
  if (types.has('number') || types.has('integer')) {
    const { lo, hi, loOpen, hiOpen } = f.number;
    if (lo !== undefined) way('number', (x) => narrowNumber(x, lo, 'hi', !loOpen));
    if (hi !== undefined) way('number', (x) => narrowNumber(x, hi, 'lo', !hiOpen));
    for (const step of types.has('number') ? f.number.steps : [1, ...f.number.steps]) way('number', (x) => x.number.notSteps.push(step));
    for (const step of f.number.notSteps) way('number', (x) => x.number.steps.push(step));
  }
  if (types.has('array')) arrays(f, way);
  if (types.has('object')) objects(f, way);
  for (const v of f.excluded)
    if (fits(schema, { ...f, excluded: [] }, v)) way(undefined, (x) => (x.values = (x.values ?? [v]).filter((w) => sameJson(v, w))));
  return out;
}

type Way = (type: JsonType | undefined, narrow: Narrowing) => void;

function arrays(f: Flat, way: Way): void {
  const { min, max, parts, contains } = f.array;
  if (min > 0) way('array', (x) => (x.array.max = Math.min(x.array.max, min - 1)));
  if (max < Infinity) way('array', (x) => (x.array.min = Math.max(x.array.min, max + 1)));
  for (const { prefix, items } of parts) {
    prefix.forEach((item, k) => {
      way('array', (x) => {
        x.array.min = Math.max(x.array.min, k + 1);
        x.array.parts.push({ silent: true, prefix: [...Array.from({ length: k }, () => anything(item)), opposite(item)] });
      });
    });
    if (items && prefix.length === 0) way('array', (x) => x.array.contains.push({ node: opposite(items), min: 1, max: Infinity }));
  }
  for (const c of contains) {
    if (c.min > 0) way('array', (x) => x.array.contains.push({ node: c.node, min: 0, max: c.min - 1 }));
    if (c.max < Infinity) way('array', (x) => x.array.contains.push({ node: c.node, min: c.max + 1, max: Infinity }));
  }
}

function objects(f: Flat, way: Way): void {
  const { min, max, parts, required } = f.object;
  if (min > 0) way('object', (x) => (x.object.max = Math.min(x.object.max, min - 1)));
  if (max < Infinity) way('object', (x) => (x.object.min = Math.max(x.object.min, max + 1)));
  for (const key of required) way('object', without(key, f.at));
  for (const part of parts) {
    for (const [key, value] of part.properties) {
      way('object', (x) => {
        x.object.required.add(key);
        x.object.parts.push({ declares: false, silent: true, properties: new Map([[key, opposite(value)]]), patterns: [] });
      });
    }
  }
}

/** The opposite of a node. */
export const opposite = (n: Node): Node => {
  const { not, ...rest } = n;
  return not ? rest : { ...n, not: true };
};

const anything = (n: Node): Node => ({ schema: true, at: `${n.at}~#any`, via: [] });

/** An object without that property. Other types are not asked for anything. */
export const without =
  (key: string, at: string): Narrowing =>
  (f) =>
    f.object.parts.push({
      ...{ declares: false, silent: true, patterns: [] },
      properties: new Map([[key, { schema: false, at: `${at}~#no ${key}`, via: [] }]]),
    });

/** Must be none of these. Of arrays and objects only the empty ones are told from the others; where there is another, the type goes. */
function exclude(f: Flat, values: readonly unknown[]): void {
  f.excluded.push(...values);
  const composite = values.filter((v) => typeof v === 'object' && v !== null);
  for (const v of composite) {
    const part = Array.isArray(v) ? f.array : f.object;
    const empty = Array.isArray(v) ? v.length === 0 : isDict(v) && Object.keys(v).length === 0;
    if (empty) part.min = Math.max(part.min, 1);
    else if (!f.values) narrowTypes(f, new Set(TYPES.filter((t) => t !== (Array.isArray(v) ? 'array' : 'object'))));
  }
  const strings = values.filter((v): v is string => typeof v === 'string');
  if (strings.length > 0) f.string.dfas.push(complement(words(strings)));
}

/** The parts of a range that single numbers cut out of it. */
export function pieces(n: Flat['number'], cuts: readonly number[]): Flat['number'][] {
  let rest = [n];
  for (const cut of cuts) {
    rest = rest.flatMap((r) => {
      const inside = (r.lo === undefined || cut >= r.lo) && (r.hi === undefined || cut <= r.hi);
      return inside
        ? [
            { ...r, hi: cut, hiOpen: true },
            { ...r, lo: cut, loOpen: true },
          ]
        : [r];
    });
  }
  return rest;
}
