import { arrayRule } from './array.ts';
import { ANY } from './charset.ts';
import { fits } from './check.ts';
import { anyNumber, decimalRange, lcm } from './decimal.ts';
import { both, type Dfa, words } from './dfa.ts';
import { type Flat, isDict, type Node, nodeKey, typesOf } from './flat.ts';
import { located, type Schema, stringDfas } from './flatten.ts';
import { GrammarError, LIMITS } from './limits.ts';
import { pieces } from './negate.ts';
import { EXIT, type Fragment, INC, INF, type Net } from './net.ts';
import { objectFragment } from './object.ts';

/**
 * Turns subschemas into rules of a net. The text is JSON as Python's json.dumps writes it: one space after ':' and ',', no other white
 * space; properties in the schema's order.
 */
export class SchemaBuilder {
  readonly net: Net;
  readonly schema: Schema;
  private readonly rules = new Map<string, number>();

  constructor(net: Net, schema: Schema) {
    this.net = net;
    this.schema = schema;
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
      if (t === 'null') parts.push(...(f.excluded.includes(null) ? [] : [net.text('null')]));
      else if (t === 'boolean') parts.push(...[true, false].filter((v) => !f.excluded.includes(v)).map((v) => net.text(String(v))));
      else if (t === 'string') parts.push(net.ruleCall(this.string(f)));
      else if (t === 'number' || (t === 'integer' && !types.has('number'))) parts.push(...this.numbers(f, t === 'integer'));
      else if (t === 'array') parts.push(net.ruleCall(arrayRule(this, f)));
      else if (t === 'object') parts.push(objectFragment(this, f));
    }
    return net.alt(...parts);
  }

  /** A value written out. */
  literal(v: unknown, at: string, depth: number): Fragment {
    const { net } = this;
    if (depth > LIMITS.depth) throw new GrammarError(at, 'enum', 'a value nested too deep');
    if (typeof v === 'string') return net.quoted(v);
    if (Array.isArray(v)) {
      const items = v.flatMap((x, i) => [net.text(i === 0 ? '' : ', '), this.literal(x, at, depth + 1)]);
      return net.seq(net.text('['), ...items, net.text(']'));
    }
    if (isDict(v)) {
      const members = Object.entries(v).flatMap(([k, x], i) => [
        net.text(i === 0 ? '' : ', '),
        net.quoted(k),
        net.text(': '),
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
    const { chars, min, max } = f.string;
    return this.memo(`#string ${chars.join()} ${min} ${max}`, () => {
      const free = min === 0 && max === Infinity;
      const { net } = this;
      const loop = net.state();
      const char = chars.length === 0 ? net.alt() : net.char(chars, free ? 0 : INC);
      char(loop, loop);
      const body: Fragment = (from, to) => {
        net.arc(from, 0x22, 0x22, loop);
        net.arc(loop, 0x22, 0x22, to, free ? 0 : EXIT);
      };
      if (min > max) return net.rule(); // nothing
      return net.define(body, free ? undefined : { lo: min, hi: max === Infinity ? INF : max });
    });
  }

  /** A JSON string whose characters an automaton accepts. */
  quotedDfa(dfa: Dfa): number {
    const { net } = this;
    return net.define((from, to) => {
      const states = dfa.edges.map(() => net.state());
      net.arc(from, 0x22, 0x22, states[0]);
      dfa.edges.forEach((edges, i) => {
        for (const e of edges) net.char(e.set)(states[i], states[e.to]);
        if (dfa.accept[i]) net.arc(states[i], 0x22, 0x22, to);
      });
    });
  }

  /** A string property name nothing else is asked of. */
  anyString(): number {
    return this.memo('#any string', () => this.quotedDfa({ edges: [[{ set: ANY, to: 0 }]], accept: [true] }));
  }
}

/** Each remainder is a state of its own, at each digit. */
const MAX_STEP = 512;

/** Digits after the point of the shortest text of x. */
function decimals(x: number): number {
  const m = /^\d+(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(x));
  return Math.max(0, (m?.[1]?.length ?? 0) - Number(m?.[2] ?? 0));
}
