import { ANY, type CharSet, intersect } from './charset.ts';
import type { Dfa } from './dfa.ts';
import type { Budget } from './limits.ts';

export type Dict = Record<string, unknown>;

export const isDict = (x: unknown): x is Dict => typeof x === 'object' && x !== null && !Array.isArray(x);

export type JsonType = 'null' | 'boolean' | 'object' | 'array' | 'number' | 'integer' | 'string';

/** What a value is asked for without a schema of its own: written into a flat schema. */
export type Narrowing = (flat: Flat) => void;

/** Subschemas that hold together. */
export class All {
  readonly nodes: readonly Node[];

  constructor(nodes: readonly Node[]) {
    this.nodes = nodes;
  }
}

/**
 * A subschema and where it stands. `via`: pointers of the references that led here without entering a value. `not`: the value
 * must not satisfy it, in JSON Schema's own, open reading.
 */
export interface Node {
  schema: unknown | Narrowing | All;
  at: string;
  via: readonly string[];
  not?: true;
  /** Nothing else is asked of the value beside it, so that what its own subschemas evaluate is all that is evaluated. */
  alone?: true;
}

/** Names a node among all of a document. */
export const nodeKey = (n: Node): string => (n.not ? `!${n.at}` : n.at);

export interface ObjectPart {
  /** Has `properties` or `patternProperties`, even empty ones. */
  declares: boolean;
  /** From a negation: what it names counts as unevaluated. */
  silent?: true;
  properties: ReadonlyMap<string, Node>;
  patterns: readonly { dfa: Dfa; node: Node }[];
  /** Absent: not said. */
  additional?: Node;
}

export interface ArrayPart {
  /** From a negation: what it names counts as unevaluated. */
  silent?: true;
  prefix: readonly Node[];
  /** Absent: anything. */
  items?: Node;
}

/** At least `min` and at most `max` items satisfy `node`. */
export interface Contains {
  node: Node;
  min: number;
  max: number;
}

/** What flattens subschemas of a document (`Schema` of flatten.ts), as keywords see it. */
export interface Flattener {
  readonly budget: Budget;
  /** JSON Schema's open world. */
  readonly open: boolean;
  openly<T>(f: () => T): T;
  flatten(nodes: readonly Node[]): Flat[];
  pattern(source: unknown, at: string): Dfa | undefined;
  format(name: string, at: string): Dfa | undefined;
  /** A keyword that cannot be enforced: an error, or a note where it may be loose. */
  unsupported(at: string, keyword: string, reason: string): void;
}

/** One alternative of a schema, with $ref, allOf, anyOf and oneOf worked out: what the value must satisfy, all at once. */
export interface Flat {
  at: string;
  /** undefined: any type. */
  types?: ReadonlySet<JsonType>;
  /** Types that a keyword speaks of, for schemas that name none. */
  hints: Set<JsonType>;
  /** From enum and const. */
  values?: readonly unknown[];
  /** Values that it must not be. */
  excluded: unknown[];
  string: { dfas: Dfa[]; chars: CharSet; min: number; max: number };
  number: { lo?: number; hi?: number; loOpen?: boolean; hiOpen?: boolean; steps: number[]; notSteps: number[] };
  object: { parts: ObjectPart[]; required: Set<string>; names: Node[]; min: number; max: number; unevaluated?: Node };
  array: { parts: ArrayPart[]; min: number; max: number; contains: Contains[]; unique: boolean; unevaluated?: Node };
}

export function newFlat(at: string): Flat {
  return {
    at,
    hints: new Set(),
    excluded: [],
    string: { dfas: [], chars: ANY, min: 0, max: Infinity },
    number: { steps: [], notSteps: [] },
    object: { parts: [], required: new Set(), names: [], min: 0, max: Infinity },
    array: { parts: [], min: 0, max: Infinity, contains: [], unique: false },
  };
}

export function copyFlat(f: Flat): Flat {
  return {
    ...f,
    hints: new Set(f.hints),
    excluded: [...f.excluded],
    string: { ...f.string, dfas: [...f.string.dfas] },
    number: { ...f.number, steps: [...f.number.steps], notSteps: [...f.number.notSteps] },
    object: { ...f.object, parts: [...f.object.parts], required: new Set(f.object.required), names: [...f.object.names] },
    array: { ...f.array, parts: [...f.array.parts], contains: [...f.array.contains] },
  };
}

export function narrowTypes(f: Flat, types: ReadonlySet<JsonType>): void {
  const before = f.types;
  if (!before) {
    f.types = types;
    return;
  }
  const out = new Set<JsonType>();
  for (const t of types) {
    if (before.has(t)) out.add(t);
    else if (t === 'integer' && before.has('number')) out.add(t);
    else if (t === 'number' && before.has('integer')) out.add('integer');
  }
  f.types = out;
}

export function narrowValues(f: Flat, values: readonly unknown[]): void {
  f.values = f.values ? f.values.filter((v) => values.some((w) => sameJson(v, w))) : values;
}

export function narrowNumber(f: Flat, bound: number, side: 'lo' | 'hi', open: boolean): void {
  const n = f.number;
  const old = n[side];
  const tighter = old === undefined || (side === 'lo' ? bound > old : bound < old) || (bound === old && open);
  if (!tighter) return;
  n[side] = bound;
  n[side === 'lo' ? 'loOpen' : 'hiOpen'] = open;
}

export function narrowChars(f: Flat, set: CharSet, min: number, max: number): void {
  f.string.chars = intersect(f.string.chars, set);
  f.string.min = Math.max(f.string.min, min);
  f.string.max = Math.min(f.string.max, max);
}

/** Equal as JSON values: property order does not matter. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((k) => Object.hasOwn(b, k) && sameJson((a as Record<string, unknown>)[k], (b as Record<string, unknown>)[k]));
}

export function typeOf(v: unknown): JsonType {
  if (v === null) return 'null';
  if (Array.isArray(v)) return 'array';
  if (typeof v === 'number') return Number.isInteger(v) ? 'integer' : 'number';
  return typeof v as JsonType;
}

const ALL_TYPES: ReadonlySet<JsonType> = new Set(['object', 'array', 'string', 'number', 'boolean', 'null'] as const);

/** The types an alternative takes. In a closed world a schema without a type takes those its keywords speak of. */
export function typesOf(f: Flat, open: boolean): ReadonlySet<JsonType> {
  return f.types ?? (f.hints.size > 0 && !open ? f.hints : ALL_TYPES);
}

/** Whether undeclared properties are out. In a closed world they are where properties are declared and nothing is said. */
export function isClosed(f: Flat, open: boolean): boolean {
  const said = f.object.parts.filter((p) => p.additional !== undefined);
  if (f.object.unevaluated?.schema === false && !said.some((p) => !p.silent)) return true;
  const declares = f.object.parts.some((p) => p.declares);
  return said.some((p) => p.additional?.schema === false) || (!open && declares && said.length === 0);
}

/** A JSON pointer one step down (RFC 6901). */
export const down = (at: string, ...keys: (string | number)[]): string =>
  at + keys.map((k) => `/${String(k).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
