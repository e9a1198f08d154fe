import { ANY, type CharSet, invert, union } from './charset.ts';
import { GrammarError, LIMITS } from './limits.ts';
import type { Fragment, Net } from './net.ts';

const NAME = /[A-Za-z0-9_-]{1,128}/y;
const BLANK = /(?:[ \t]|#[^\n]*)*/y;
const BLANK_LINES = /(?:\s|#[^\n]*)*/y;
const REPEAT = /\{\s{0,8}(\d{0,6})\s{0,8}(,?)\s{0,8}(\d{0,6})\s{0,8}\}/y;
const HEX: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

/**
 * The root rule of a grammar in llama.cpp's GBNF: `root ::= "yes" | "no" [0-9]+`. Literals, classes, `.`, groups, `*`, `+`, `?`, `{m,n}`
 * and comments. Not supported, and refused by name: tokens by id (`<[5]>`), and rules that call themselves before any text.
 */
export function gbnfRule(net: Net, source: string): number {
  return new Parser(net, source).parse();
}

class Parser {
  private at = 0;
  private depth = 0;
  private readonly net: Net;
  private readonly source: string;
  private readonly rules = new Map<string, { id: number; line: number; defined: boolean }>();

  constructor(net: Net, source: string) {
    this.net = net;
    this.source = source;
  }

  parse(): number {
    if (this.source.length > LIMITS.schemaChars)
      throw new GrammarError('', 'grammar', `${this.source.length} characters, at most ${LIMITS.schemaChars}`);
    this.skip(BLANK_LINES);
    while (this.at < this.source.length) this.definition();
    for (const [name, { defined, line }] of this.rules) {
      if (!defined) throw new GrammarError('', 'grammar', `line ${line}: the rule "${name}" is not defined`);
    }
    const root = this.rules.get('root');
    if (!root) throw new GrammarError('', 'grammar', 'there is no rule named "root"');
    return root.id;
  }

  private definition(): void {
    const name = this.name() ?? this.fail('expected the name of a rule');
    this.skip(BLANK);
    if (!this.eat('::=')) this.fail(`expected "::=" after "${name}"`);
    const rule = this.rule(name);
    if (rule.defined) this.fail(`the rule "${name}" is defined twice`);
    rule.defined = true;
    this.skip(BLANK_LINES);
    const body = this.alternatives();
    const { start, end } = this.net.rules[rule.id];
    body(start, end);
    if (this.at < this.source.length && !/[\r\n]/.test(this.source[this.at])) this.fail('expected the end of the line');
    this.skip(BLANK_LINES);
  }

  private rule(name: string): { id: number; line: number; defined: boolean } {
    const rule = this.rules.get(name) ?? { id: this.net.rule(), line: this.line(), defined: false };
    this.rules.set(name, rule);
    return rule;
  }

  /** Alternatives, to the end of the line or of the group. */
  private alternatives(): Fragment {
    if (++this.depth > LIMITS.depth) this.fail('groups nested too deep');
    const parts = [this.sequence()];
    while (this.eat('|')) {
      this.skip(BLANK_LINES);
      parts.push(this.sequence());
    }
    this.depth--;
    return this.net.alt(...parts);
  }

  private sequence(): Fragment {
    const parts: Fragment[] = [];
    for (;;) {
      this.space();
      const atom = this.atom();
      if (!atom) return this.net.seq(...parts);
      parts.push(this.repeated(atom));
    }
  }

  /** Within a group lines may end anywhere. */
  private space(): void {
    this.skip(this.depth > 1 ? BLANK_LINES : BLANK);
  }

  private atom(): Fragment | undefined {
    const c = this.source[this.at];
    if (c === '"') return this.literal();
    if (c === '[') return this.net.utf8(this.charClass());
    if (c === '<' || c === '!') this.fail('tokens by id are not supported; write their text');
    if (this.eat('.')) return this.net.utf8(ANY);
    if (this.eat('(')) {
      const body = this.alternatives();
      if (!this.eat(')')) this.fail('expected ")"');
      return body;
    }
    const name = this.name();
    return name === undefined ? undefined : this.net.ruleCall(this.rule(name).id);
  }

  private repeated(first: Fragment): Fragment {
    let atom = first;
    for (;;) {
      this.space();
      if (this.eat('*')) atom = this.times(atom, 0, Infinity);
      else if (this.eat('+')) atom = this.times(atom, 1, Infinity);
      else if (this.eat('?')) atom = this.times(atom, 0, 1);
      else if (this.source[this.at] === '{') {
        const m = this.match(REPEAT) ?? this.fail('expected a repetition such as {2} or {1,3}');
        const [, low, comma, high] = m;
        const min = Number(low);
        const max = comma === '' ? min : high === '' ? Infinity : Number(high);
        if ((low === '' && high === '') || max < min) this.fail('a repetition with bounds that are none');
        atom = this.times(atom, min, max);
      } else return atom;
    }
  }

  private times(atom: Fragment, min: number, max: number): Fragment {
    const { net } = this;
    const one = net.ruleCall(net.define(atom));
    return (from, to) => {
      let at = from;
      for (let i = 0; i < (max === Infinity ? min : max); i++) {
        if (i >= min) net.skip(at, to);
        const next = net.state();
        one(at, next);
        at = next;
      }
      if (max === Infinity) {
        const loop = net.state(); // so that what comes before cannot be entered again
        net.skip(at, loop);
        one(loop, loop);
        at = loop;
      }
      net.skip(at, to);
    };
  }

  private literal(): Fragment {
    this.at++;
    const points: number[] = [];
    while (!this.eat('"')) points.push(this.char());
    return this.net.seq(...points.map((p) => this.net.utf8([p, p])));
  }

  private charClass(): CharSet {
    this.at++;
    const negated = this.eat('^');
    const sets: CharSet[] = [];
    while (!this.eat(']')) {
      const low = this.char();
      if (this.source[this.at] !== '-' || this.source[this.at + 1] === ']') {
        sets.push([low, low]);
        continue;
      }
      this.at++;
      const high = this.char();
      if (high < low) this.fail('a class with its bounds swapped');
      sets.push([low, high]);
    }
    const set = union(...sets);
    return negated ? invert(set) : set;
  }

  /** A character of a literal or a class, escapes read. */
  private char(): number {
    const point = this.source.codePointAt(this.at);
    if (point === undefined || point === 10) this.fail('a literal or a class without its end');
    this.at += point > 0xffff ? 2 : 1;
    if (point !== 0x5c) return point;
    const c = this.source[this.at++] ?? '';
    const digits = HEX[c];
    if (digits) {
      const hex = this.source.slice(this.at, this.at + digits);
      const value = Number.parseInt(hex, 16);
      if (!/^[0-9a-fA-F]+$/.test(hex) || hex.length < digits || value > 0x10ffff) this.fail('a bad hexadecimal escape');
      this.at += digits;
      return value;
    }
    if (Object.hasOwn(ESCAPES, c)) return ESCAPES[c].charCodeAt(0);
    if (!/^["\\[\]^-]$/.test(c)) this.fail(`the escape \\${c} is not known`);
    return c.charCodeAt(0);
  }

  private name(): string | undefined {
    return this.match(NAME)?.[0];
  }

  private eat(text: string): boolean {
    if (!this.source.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  private match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const m = pattern.exec(this.source);
    if (m) this.at += m[0].length;
    return m;
  }

  private skip(pattern: RegExp): void {
    this.match(pattern);
  }

  private line(): number {
    return this.source.slice(0, this.at).split('\n').length;
  }

  private fail(reason: string): never {
    throw new GrammarError('', 'grammar', `line ${this.line()}: ${reason}`);
  }
}
