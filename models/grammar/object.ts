import { memberNodes, propertyNodes, satisfies } from './check.ts';
import { both, complement, type Dfa, isEmpty, lengths, words } from './dfa.ts';
import { type Flat, isClosed, type Node } from './flat.ts';
import { GrammarError } from './limits.ts';
import type { Fragment } from './net.ts';
import type { Rules } from './rules.ts';
import { stringDfas } from './strings.ts';

/** Names a property may have beyond the declared ones, and what their values must satisfy. */
interface Extra {
  names: Dfa | undefined; // any
  nodes: readonly Node[];
}

/** How an object's members are written. A name is a text, or any that an automaton accepts (undefined: any at all). */
export interface ObjectForm {
  open: string;
  comma: string;
  close: string;
  member(name: string | Dfa | undefined, value: Fragment, nodes: readonly Node[]): Fragment;
}

const inBraces = (b: Rules): ObjectForm => ({
  open: '{',
  comma: b.syntax.comma,
  close: '}',
  member: (name, value) => b.net.seq(b.name(name), b.net.text(b.syntax.colon), value),
});

/** The rule of an object in a form of its own. */
export const objectRule = (b: Rules, nodes: readonly Node[], form: ObjectForm): number =>
  b.net.define(b.net.alt(...b.schema.flatten(nodes).map((f) => objectFragment(b, f, form))));

/**
 * An object: `{`, the declared properties in the schema's order (those not required may be left out), then any others, `}`. A required name
 * that is not declared counts as declared last. Other names never repeat a declared one; JSON keeps the last of two equal names, so
 * they may repeat each other, and minProperties is refused where that would matter.
 */
export function objectFragment(b: Rules, f: Flat, form: ObjectForm = inBraces(b)): Fragment {
  const { net, schema } = b;
  const { parts, required, min } = f.object;
  const names = [...new Set([...parts.flatMap((p) => [...p.properties.keys()]), ...required])];
  const properties = names
    .filter((k) => required.has(k) || satisfies(schema, f.object.names, k))
    .map((k) => ({ key: k, required: required.has(k), impossible: !satisfies(schema, f.object.names, k), nodes: propertyNodes(f, k) }));
  const extras = extraProperties(b, f, names);
  if (extras.length > 0 && min > Math.max(1, required.size)) {
    schema.unsupported(f.at, 'minProperties', 'with undeclared properties, more than the required ones cannot be counted');
  }
  const max = extras.length === 0 && f.object.max >= names.length ? Infinity : f.object.max;
  const cap = max !== Infinity ? max + 1 : Math.max(min, 1);

  return (from, to) => {
    const states = new Map<string, number>();
    /** After the first `i` declared properties, `n` of them present (counted up to `cap`). */
    const state = (i: number, n: number): number => {
      const key = `${i},${n}`;
      const s = states.get(key) ?? net.state();
      states.set(key, s);
      return s;
    };
    const more = (n: number) => Math.min(n + 1, cap);
    const member = (s: number, n: number, name: string | Dfa | undefined, nodes: readonly Node[], next: number) => {
      net.seq(net.text(n === 0 ? '' : form.comma), form.member(name, net.ruleCall(b.rule(nodes)), nodes))(s, next);
    };
    net.text(form.open)(from, state(0, 0));
    for (let i = 0; i < properties.length; i++) {
      const p = properties[i];
      for (let n = 0; n <= Math.min(i, cap); n++) {
        if (!states.has(`${i},${n}`)) continue;
        if (more(n) <= max && !p.impossible) member(state(i, n), n, p.key, p.nodes, state(i + 1, more(n)));
        if (!p.required) net.skip(state(i, n), state(i + 1, n));
      }
    }
    const last = properties.length;
    for (let n = 0; n <= cap; n++) {
      if (!states.has(`${last},${n}`)) continue;
      if (n >= Math.min(min, cap) && n <= max) net.text(form.close)(state(last, n), to);
      for (const e of extras) if (more(n) <= max) member(state(last, n), n, e.names, e.nodes, state(last, more(n)));
    }
  };
}

/** Patterns of one object's names: each set of them that a name can match at once is a kind of name. */
const MAX_PATTERNS = 6;

function extraProperties(b: Rules, f: Flat, names: readonly string[]): Extra[] {
  const patterns = [...new Set(f.object.parts.flatMap((p) => p.patterns.map((x) => x.dfa)))];
  if (patterns.length > MAX_PATTERNS) {
    b.schema.unsupported(f.at, 'patternProperties', `more than ${MAX_PATTERNS} patterns`);
    patterns.length = 0;
  }
  const closed = isClosed(f, b.schema.open);
  const out: Extra[] = [];
  /** Names that match these patterns and, of those up to `i`, no others. */
  const visit = (i: number, matched: readonly Dfa[], key: Dfa | undefined) => {
    if (key && isEmpty(key)) return;
    if (i < patterns.length) {
      const and = (dfa: Dfa) => (key ? both(key, dfa, b.schema.budget) : dfa);
      visit(i + 1, [...matched, patterns[i]], and(patterns[i]));
      visit(i + 1, matched, and(complement(patterns[i])));
      return;
    }
    if (matched.length === 0 && closed) return;
    const nodes = memberNodes(f, () => ({ own: undefined, matches: (dfa) => matched.includes(dfa) }));
    out.push({ names: key, nodes });
  };
  const others = [...(names.length > 0 ? [complement(words(names))] : []), ...nameDfas(b, f)];
  visit(0, [], others.length > 0 ? others.reduce((x, y) => both(x, y, b.schema.budget)) : undefined);
  return out;
}

/** What propertyNames asks, as automata. */
function nameDfas(b: Rules, f: Flat): Dfa[] {
  const nodes = f.object.names;
  if (nodes.length === 0) return [];
  const flats = b.schema.flatten(nodes).filter((n) => !n.types || n.types.has('string'));
  const at = nodes[0].at;
  if (flats.length > 1) throw new GrammarError(at, 'anyOf', 'propertyNames with alternatives is not supported; use one pattern');
  if (flats.length === 0) return [words([])];
  const [flat] = flats;
  if (flat.values) return [words(flat.values.filter((v): v is string => typeof v === 'string' && satisfies(b.schema, nodes, v)))];
  const dfas = stringDfas(flat);
  return dfas.length > 0 ? dfas : [lengths(flat.string.chars, flat.string.min, flat.string.max)];
}
