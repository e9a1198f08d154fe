import { codePoints, has } from './charset.ts';
import { accepts, type Dfa } from './dfa.ts';
import { type Flat, type Flattener, isDict, type Node, type ObjectPart, sameJson, typeOf } from './flat.ts';
import { GrammarError, LIMITS } from './limits.ts';

/** Whether a value satisfies all of these schemas: which values of an `enum` its siblings leave. */
export function satisfies(schema: Flattener, nodes: readonly Node[], value: unknown, depth = 0): boolean {
  if (depth > LIMITS.depth) throw new GrammarError(nodes[0]?.at ?? '', 'enum', 'a value nested too deep');
  return schema.flatten(nodes).some((f) => fits(schema, f, value, depth));
}

export function fits(schema: Flattener, f: Flat, value: unknown, depth = 0): boolean {
  const type = typeOf(value);
  if (f.types && !f.types.has(type) && !(type === 'integer' && f.types.has('number'))) return false;
  if (f.values && !f.values.some((v) => sameJson(v, value))) return false;
  if (f.excluded.some((v) => sameJson(v, value))) return false;
  if (typeof value === 'string') return fitsString(f, value);
  if (typeof value === 'number') return fitsNumber(f, value);
  if (Array.isArray(value)) {
    if (value.length < f.array.min || value.length > f.array.max) return false;
    if (f.array.unique && value.some((v, i) => value.slice(0, i).some((w) => sameJson(v, w)))) return false;
    for (const c of f.array.contains) {
      const n = value.filter((v) => satisfies(schema, [c.node], v, depth + 1)).length;
      if (n < c.min || n > c.max) return false;
    }
    return value.every((v, i) => satisfies(schema, itemNodes(f, i), v, depth + 1));
  }
  if (isDict(value)) {
    const keys = Object.keys(value);
    if (keys.length < f.object.min || keys.length > f.object.max) return false;
    for (const k of f.object.required) if (!Object.hasOwn(value, k)) return false;
    return keys.every(
      (k) => satisfies(schema, f.object.names, k, depth + 1) && satisfies(schema, propertyNodes(f, k), value[k], depth + 1),
    );
  }
  return true;
}

export function fitsString(f: Flat, s: string): boolean {
  const { dfas, chars, min, max } = f.string;
  const cps = codePoints(s);
  return cps.length >= min && cps.length <= max && cps.every((c) => has(chars, c)) && dfas.every((d) => accepts(d, s));
}

function fitsNumber(f: Flat, x: number): boolean {
  const { lo, hi, loOpen, hiOpen, steps, notSteps } = f.number;
  if (lo !== undefined && (x < lo || (loOpen && x === lo))) return false;
  if (hi !== undefined && (x > hi || (hiOpen && x === hi))) return false;
  const multiple = (s: number) => Number.isInteger(x / s) || Math.abs(x / s - Math.round(x / s)) < 1e-9;
  return steps.every(multiple) && !notSteps.some(multiple);
}

/** What the item at an index must satisfy. */
export function itemNodes(f: Flat, i: number): Node[] {
  const { parts, unevaluated } = f.array;
  const nodes = parts.flatMap((p) => p.prefix[i] ?? p.items ?? []);
  const evaluated = parts.some((p) => !p.silent && (p.items !== undefined || i < p.prefix.length));
  return unevaluated && !evaluated ? [...nodes, unevaluated] : nodes;
}

/** What the value of a property must satisfy. */
export function propertyNodes(f: Flat, key: string): Node[] {
  return memberNodes(f, (p) => ({ own: p.properties.get(key), matches: (dfa) => accepts(dfa, key) }));
}

/** What a property's value must satisfy, by what each part says of its name. */
export function memberNodes(f: Flat, named: (p: ObjectPart) => { own: Node | undefined; matches: (dfa: Dfa) => boolean }): Node[] {
  const { parts, unevaluated } = f.object;
  let evaluated = false;
  const nodes = parts.flatMap((p) => {
    const { own, matches } = named(p);
    const out = own ? [own] : [];
    for (const { dfa, node } of p.patterns) if (matches(dfa)) out.push(node);
    if (out.length === 0 && p.additional) out.push(p.additional);
    evaluated ||= out.length > 0 && !p.silent;
    return out;
  });
  return unevaluated && !evaluated ? [...nodes, unevaluated] : nodes;
}
