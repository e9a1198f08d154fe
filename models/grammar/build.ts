import { arrayRule } from './array.ts';
import { ANY, type CharSet, codePoints, intersect, invert } from './charset.ts';
import { fits } from './check.ts';
import { anyNumber, decimalRange, lcm } from './decimal.ts';
import { both, type Dfa, words } from './dfa.ts';
import { type Flat, isDict, type Node, nodeKey, typesOf } from './flat.ts';
import { located, type Schema } from './flatten.ts';
import { GrammarError, LIMITS } from './limits.ts';
import { pieces } from './negate.ts';
import { EXIT, type Fragment, INC, INF, type Net } from './net.ts';
import { objectFragment } from './object.ts';
import type { Rules } from './rules.ts';
import { stringDfas } from './strings.ts';
import { BARE_NAME, bareNames, JSON_SYNTAX, type Syntax, without } from './syntax.ts';
import { mark } from './tags.ts';

/**
 * Turns subschemas into rules of a net. The text is JSON as Python's json.dumps writes it, or another syntax of the same values; there
 * is no white space but the syntax's own; properties come in the schema's order.
 */
export class SchemaBuilder implements Rules {
  readonly net: Net;
  readonly schema: Schema;
  readonly syntax: Syntax;
  private readonly rules = new Map<string, number>();
  /** Strings that stand as they are: texts without what ends them. */
  private readonly unended?: Dfa;

  constructor(net: Net, schema: Schema, syntax: Syntax = JSON_SYNTAX) {
    this.net = net;
    this.schema = schema;
    this.syntax = syntax;
    if (!syntax.escapes) this.unended = without(syntax.quotes[1]);
  }

  /** The rule of a value that satisfies all of these. */
  rule(nodes: readonly Node[]): number {
    const key = nodes.length === 0 ? '#any' : [...new Set(nodes.map((n) => `at ${nodeKey(n)}`))].sort().join(' ');
    const known = this.rules.get(key);
    if (known !== undefined) return known;
    const id = this.net.rule();
    this.rules.set(key, id);
    const { start, end } = this.net.rules[id];
    const at = nodes[0]?.at ?? '';
    if (at.split('/').length > LIMITS.depth * 3) throw new GrammarError(at.slice(0, 200), '', 'nested too deep');
    for (const flat of this.schema.flatten(nodes)) located(flat.at, '', () => this.alternative(flat)(start, end));
    return id;
  }

  private alternative(f: Flat): Fragment {
    const { net } = this;
    if (f.values) {
      const left = f.values.filter((v) => fits(this.schema, { ...f, values: undefined }, v));
      const strings = left.filter((v): v is string => typeof v === 'string');
      const others = left.filter((v) => typeof v !== 'string').map((v) => this.literal(v, f.at, 0));
      return net.alt(...others, net.ruleCall(this.quotedDfa(words(strings))));
    }
    const types = typesOf(f, this.schema.open);
    const parts: Fragment[] = [];
    for (const t of types) {
      if (t === 'null') parts.push(...(f.excluded.includes(null) ? [] : [net.text(this.syntax.nothing)]));
      else if (t === 'boolean') parts.push(...[true, false].filter((v) => !f.excluded.includes(v)).map((v) => net.text(this.word(v))));
      else if (t === 'string') parts.push(net.ruleCall(this.string(f)));
      else if (t === 'number' || (t === 'integer' && !types.has('number'))) parts.push(...this.numbers(f, t === 'integer'));
      else if (t === 'array') parts.push(net.ruleCall(arrayRule(this, f)));
      else if (t === 'object') parts.push(objectFragment(this, f));
    }
    return net.alt(...parts);
  }

  private word(v: boolean): string {
    return v ? this.syntax.yes : this.syntax.no;
  }

  /** A value written out. */
  literal(v: unknown, at: string, depth: number): Fragment {
    const { net } = this;
    if (depth > LIMITS.depth) throw new GrammarError(at, 'enum', 'a value nested too deep');
    if (typeof v === 'string') return this.syntax.escapes ? net.quoted(v) : net.ruleCall(this.quotedDfa(words([v])));
    if (typeof v === 'boolean') return net.text(this.word(v));
    if (v === null) return net.text(this.syntax.nothing);
    if (Array.isArray(v)) {
      const items = v.flatMap((x, i) => [net.text(i === 0 ? '' : this.syntax.comma), this.literal(x, at, depth + 1)]);
      return net.seq(net.text('['), ...items, net.text(']'));
    }
    if (isDict(v)) {
      const members = Object.entries(v).flatMap(([k, x], i) => [
        net.text(i === 0 ? '' : this.syntax.comma),
        this.name(k),
        net.text(this.syntax.colon),
        this.literal(x, at, depth + 1),
      ]);
      return net.seq(net.text('{'), ...members, net.text('}'));
    }
    const text = JSON.stringify(v);
    if (text === undefined) throw new GrammarError(at, 'enum', 'a value that is not JSON');
    return net.text(text);
  }

  private memo(key: string, make: () => number): number {
    const known = this.rules.get(key);
    if (known !== undefined) return known;
    const id = make();
    this.rules.set(key, id);
    return id;
  }

  private numbers(f: Flat, integer: boolean): Fragment[] {
    const cuts = f.excluded.filter((v) => typeof v === 'number');
    return pieces(f.number, cuts).map((number) => this.net.ruleCall(this.number({ ...f, number }, integer)));
  }

  private number(f: Flat, integer: boolean): number {
    const { lo, hi, loOpen, hiOpen, steps, notSteps } = f.number;
    const { net } = this;
    return this.memo(`#number ${integer} ${lo} ${hi} ${loOpen} ${hiOpen} ${steps.join()} ${notSteps.join()}`, () => {
      const { places, step, unless } = this.steps(f, integer);
      if (!integer && lo === undefined && hi === undefined && steps.length + notSteps.length === 0) return net.define(anyNumber(net));
      return net.define(decimalRange(net, { lo, hi, loOpen, hiOpen, places, step, unless }));
    });
  }

  /**
   * multipleOf as digits after the point and a step in units of the last one: 0.25 is 25 hundredths. What must be no multiple has a digit
   * or two more than the step, so that there is something between its multiples.
   */
  private steps(f: Flat, integer: boolean): { places: number; step: number; unless: number[] } {
    const { notSteps } = f.number;
    const all = integer ? [1, ...f.number.steps] : f.number.steps;
    if (all.length + notSteps.length === 0) return { places: 10, step: 1, unless: [] };
    const own = Math.max(0, ...[...all, ...notSteps].map((s) => decimals(s)));
    for (const extra of notSteps.length > 0 && !integer ? [2, 1, 0] : [0]) {
      const places = own + extra;
      const units = (s: number) => Math.round(s * 10 ** places);
      const step = all.map(units).reduce(lcm, 1);
      const unless = notSteps.map(units);
      if (places <= 10 && unless.reduce(lcm, step) <= MAX_STEP) return { places, step, unless };
    }
    this.schema.unsupported(f.at, 'multipleOf', `at most ${MAX_STEP} units of its last digit and 10 digits after the point`);
    return { places: integer ? 0 : 10, step: 1, unless: [] };
  }

  private string(f: Flat): number {
    const dfas = stringDfas(f);
    if (dfas.length > 0) return this.quotedDfa(dfas.reduce((a, b) => both(a, b, this.schema.budget)));
    const { min, max } = f.string;
    const free = min === 0 && max === Infinity;
    if (this.unended && free) return this.memo('#string', () => this.quotedDfa({ edges: [[{ set: ANY, to: 0 }]], accept: [true] }));
    const chars = this.unended ? withoutFirst(f.string.chars, this.syntax.quotes[1]) : f.string.chars;
    return this.memo(`#string ${chars.join()} ${min} ${max}`, () => {
      const { net } = this;
      const loop = net.state();
      const char = chars.length === 0 ? net.alt() : this.char(chars, free ? 0 : INC);
      char(loop, loop);
      const body: Fragment = (from, to) => {
        this.quote(0)(from, loop);
        this.quote(1, free ? 0 : EXIT)(loop, to);
      };
      if (min > max) return net.rule(); // nothing
      return net.define(body, free ? undefined : { lo: min, hi: max === Infinity ? INF : max });
    });
  }

  private quote(side: 0 | 1, count?: number): Fragment {
    return mark(this.net, this.syntax.quotes[side], count);
  }

  private char(set: CharSet, count?: number): Fragment {
    return this.syntax.escapes ? this.net.char(set, count) : this.net.utf8(set, count);
  }

  /** A string whose characters an automaton accepts. */
  private quotedDfa(accepted: Dfa): number {
    const dfa = this.unended ? both(accepted, this.unended, this.schema.budget) : accepted;
    return this.net.define(this.along(dfa, this.quote(0), this.quote(1), (set) => this.char(set)));
  }

  private along(dfa: Dfa, open: Fragment, close: Fragment, char: (set: CharSet) => Fragment): Fragment {
    return (from, to) => {
      const states = dfa.edges.map(() => this.net.state());
      open(from, states[0]);
      dfa.edges.forEach((edges, i) => {
        for (const e of edges) char(e.set)(states[i], states[e.to]);
        if (dfa.accept[i]) close(states[i], to);
      });
    };
  }

  /** A member's name: a text, or any that an automaton accepts. */
  name(name: string | Dfa | undefined): Fragment {
    if (this.syntax.bareNames) return this.bareName(name);
    if (typeof name === 'string') return this.net.quoted(name);
    return this.net.ruleCall(
      name ? this.quotedDfa(name) : this.memo('#any string', () => this.quotedDfa({ edges: [[{ set: ANY, to: 0 }]], accept: [true] })),
    );
  }

  /** A name without quotes; one that cannot stand so is left out. */
  bareName(name: string | Dfa | undefined): Fragment {
    const { net } = this;
    if (typeof name === 'string') return BARE_NAME.test(name) ? net.raw(name) : net.alt();
    const dfa = name ? both(name, bareNames(), this.schema.budget) : bareNames();
    return this.along(dfa, net.text(''), net.text(''), (set) => net.utf8(set));
  }
}

/** Without the character that begins `end`. */
const withoutFirst = (chars: CharSet, end: string): CharSet => {
  const [first] = codePoints(end);
  return intersect(chars, invert([first, first]));
};

/** Each remainder is a state of its own, at each digit. */
const MAX_STEP = 512;

/** Digits after the point of the shortest text of x. */
function decimals(x: number): number {
  const m = /^\d+(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(x));
  return Math.max(0, (m?.[1]?.length ?? 0) - Number(m?.[2] ?? 0));
}
