import { fits, propertyNodes } from './check.ts';
import { both, isEmpty } from './dfa.ts';
import { type Flat, type Flattener, isClosed, type Node, typesOf } from './flat.ts';
import { GrammarError, LIMITS } from './limits.ts';
import { stringDfas } from './strings.ts';

/** Alternatives of a schema, and the world they are read in. */
interface Side {
  flats: readonly Flat[];
  open: boolean;
}

interface One {
  flat: Flat;
  open: boolean;
}

/**
 * For each of these schemas, which others may hold of a value that is drawn from it: those of which it is not plain that they do not.
 * What is drawn is read in the schema's world, what others say of it in the open one, as whoever checks the value reads it.
 */
export function overlaps(schema: Flattener, branches: readonly Node[]): number[][] {
  const read = (): Side[] => branches.map((b) => ({ flats: schema.flatten([b]), open: schema.open }));
  const own = read();
  const others = schema.open ? own : schema.openly(read);
  const total = own.reduce((n, s) => n + s.flats.length, 0);
  if (total > LIMITS.alternatives)
    throw new GrammarError(branches[0].at, 'oneOf', `more than ${LIMITS.alternatives} alternatives once combined`);
  return own.map((a, i) => others.flatMap((b, j) => (i === j || disjoint(schema, a, b, 0) ? [] : [j])));
}

function disjoint(schema: Flattener, a: Side, b: Side, depth: number): boolean {
  return a.flats.every((x) => b.flats.every((y) => apart(schema, { flat: x, open: a.open }, { flat: y, open: b.open }, depth)));
}

/** Whether it is plain that no value satisfies both. False where it cannot be told. */
function apart(schema: Flattener, one: One, other: One, depth: number): boolean {
  schema.budget.spend(100);
  const { flat: a } = one;
  const { flat: b } = other;
  if (a.values) return !a.values.some((v) => fits(schema, a, v) && fits(schema, b, v));
  if (b.values) return apart(schema, other, one, depth);
  const others = typesOf(b, other.open);
  for (const t of typesOf(a, one.open)) {
    const numeric = t === 'number' || t === 'integer';
    if (!others.has(t) && !(numeric && (others.has('number') || others.has('integer')))) continue;
    if (t === 'null' || t === 'boolean') return false;
    if (numeric && !numbersApart(a, b)) return false;
    if (t === 'string' && !stringsApart(schema, a, b)) return false;
    if (t === 'array' && !countsApart(a.array, b.array)) return false;
    if (t === 'object' && !objectsApart(schema, one, other, depth)) return false;
  }
  return true;
}

const countsApart = (a: { min: number; max: number }, b: { min: number; max: number }) => a.max < b.min || b.max < a.min;

function numbersApart(a: Flat, b: Flat): boolean {
  const below = (x: Flat['number'], y: Flat['number']) =>
    x.hi !== undefined && y.lo !== undefined && (x.hi < y.lo || (x.hi === y.lo && (x.hiOpen === true || y.loOpen === true)));
  return below(a.number, b.number) || below(b.number, a.number);
}

function stringsApart(schema: Flattener, a: Flat, b: Flat): boolean {
  if (countsApart(a.string, b.string)) return true;
  const dfas = [...stringDfas(a), ...stringDfas(b)];
  return dfas.length > 0 && isEmpty(dfas.reduce((x, y) => both(x, y, schema.budget)));
}

/** A property that one requires and the other forbids, or that both require with values that cannot be equal. */
function objectsApart(schema: Flattener, one: One, other: One, depth: number): boolean {
  const { flat: a } = one;
  const { flat: b } = other;
  if (depth > 4 || countsApart(a.object, b.object)) return depth <= 4;
  const read = ({ flat, open }: One, key: string): Side => {
    const flatten = () => schema.flatten(propertyNodes(flat, key));
    return { flats: open && !schema.open ? schema.openly(flatten) : flatten(), open };
  };
  const forbids = (x: One, key: string) => {
    if (propertyNodes(x.flat, key).length > 0) return read(x, key).flats.length === 0;
    return isClosed(x.flat, x.open) && !x.flat.object.required.has(key); // a required name counts as declared
  };
  for (const key of a.object.required) {
    if (forbids(other, key) || (b.object.required.has(key) && disjoint(schema, read(one, key), read(other, key), depth + 1))) return true;
  }
  for (const key of b.object.required) if (forbids(one, key)) return true;
  return false;
}
