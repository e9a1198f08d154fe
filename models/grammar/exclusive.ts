import { fits, propertyNodes } from './check.ts';
import { both, isEmpty } from './dfa.ts';
import { type Flat, isClosed, type Node, typesOf } from './flat.ts';
import { type Schema, stringDfas } from './flatten.ts';
import { GrammarError, LIMITS } from './limits.ts';

/** Whether it is plain that no value satisfies two of these schemas. False where it cannot be told. */
export function exclusive(schema: Schema, branches: readonly Node[], depth = 0): boolean {
  const flats = branches.map((b) => schema.flatten([b]));
  const total = flats.reduce((n, f) => n + f.length, 0);
  if (total > LIMITS.alternatives)
    throw new GrammarError(branches[0].at, 'oneOf', `more than ${LIMITS.alternatives} alternatives once combined`);
  return flats.every((a, i) => flats.slice(0, i).every((b) => disjoint(schema, a, b, depth)));
}

function disjoint(schema: Schema, as: readonly Flat[], bs: readonly Flat[], depth: number): boolean {
  return as.every((a) => bs.every((b) => apart(schema, a, b, depth)));
}

function apart(schema: Schema, a: Flat, b: Flat, depth: number): boolean {
  schema.budget.spend(100);
  if (a.values) return !a.values.some((v) => fits(schema, a, v) && fits(schema, b, v));
  if (b.values) return apart(schema, b, a, depth);
  const others = typesOf(b, schema.open);
  for (const t of typesOf(a, schema.open)) {
    const numeric = t === 'number' || t === 'integer';
    if (!others.has(t) && !(numeric && (others.has('number') || others.has('integer')))) continue;
    if (t === 'null' || t === 'boolean') return false;
    if (numeric && !numbersApart(a, b)) return false;
    if (t === 'string' && !stringsApart(schema, a, b)) return false;
    if (t === 'array' && !countsApart(a.array, b.array)) return false;
    if (t === 'object' && !objectsApart(schema, a, b, depth)) return false;
  }
  return true;
}

const countsApart = (a: { min: number; max: number }, b: { min: number; max: number }) => a.max < b.min || b.max < a.min;

function numbersApart(a: Flat, b: Flat): boolean {
  const below = (x: Flat['number'], y: Flat['number']) =>
    x.hi !== undefined && y.lo !== undefined && (x.hi < y.lo || (x.hi === y.lo && (x.hiOpen === true || y.loOpen === true)));
  return below(a.number, b.number) || below(b.number, a.number);
}

function stringsApart(schema: Schema, a: Flat, b: Flat): boolean {
  if (countsApart(a.string, b.string)) return true;
  const dfas = [...stringDfas(a), ...stringDfas(b)];
  return dfas.length > 0 && isEmpty(dfas.reduce((x, y) => both(x, y, schema.budget)));
}

/** A property that one requires and the other forbids, or that both require with values that cannot be equal. */
function objectsApart(schema: Schema, a: Flat, b: Flat, depth: number): boolean {
  if (depth > 4 || countsApart(a.object, b.object)) return depth <= 4;
  const forbids = (f: Flat, key: string) => {
    const nodes = propertyNodes(f, key);
    return nodes.length === 0 ? isClosed(f, schema.open) : schema.flatten(nodes).length === 0;
  };
  const valuesApart = (key: string) =>
    disjoint(schema, schema.flatten(propertyNodes(a, key)), schema.flatten(propertyNodes(b, key)), depth + 1);
  for (const key of a.object.required) if (forbids(b, key) || (b.object.required.has(key) && valuesApart(key))) return true;
  for (const key of b.object.required) if (forbids(a, key)) return true;
  return false;
}
