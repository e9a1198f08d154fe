import { ANY, type CharSet, invert, union } from './charset.ts';
import { GrammarError, LIMITS, Unsupported } from './limits.ts';

/** A regular expression over characters. `max` is Infinity when unbounded. */
export type Regex =
  | { kind: 'set'; set: CharSet }
  | { kind: 'seq'; parts: readonly Regex[] }
  | { kind: 'alt'; parts: readonly Regex[] }
  | { kind: 'repeat'; of: Regex; min: number; max: number };

const DIGIT: CharSet = [0x30, 0x39];
const WORD: CharSet = [0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a];
const SPACE: CharSet = [
  0x09, 0x0d, 0x20, 0x20, 0xa0, 0xa0, 0x1680, 0x1680, 0x2000, 0x200a, 0x2028, 0x2029, 0x202f, 0x202f, 0x205f, 0x205f, 0x3000, 0x3000,
  0xfeff, 0xfeff,
];
const NEWLINE: CharSet = [0x0a, 0x0a, 0x0d, 0x0d, 0x2028, 0x2029];
const CLASSES: Record<string, CharSet> = { d: DIGIT, D: invert(DIGIT), w: WORD, W: invert(WORD), s: SPACE, S: invert(SPACE) };
const CONTROLS: Record<string, number> = { t: 9, n: 10, v: 11, f: 12, r: 13, '0': 0 };

export const anyChars: Regex = { kind: 'repeat', of: { kind: 'set', set: ANY }, min: 0, max: Infinity };

/**
 * Parses an ECMAScript pattern. Not regular, or not supported, and refused by name: lookaround, back references, \b, \p{…}, anchors
 * other than ^ first and $ last in a top-level alternative. `search`: the pattern may match anywhere, as JSON Schema has it.
 */
export function parseRegex(source: string, pointer: string, search: boolean): Regex {
  return new Parser(source, pointer).top(search);
}

class Parser {
  private readonly chars: string[];
  private readonly pointer: string;
  private at = 0;
  private depth = 0;

  constructor(source: string, pointer: string) {
    this.chars = Array.from(source);
    this.pointer = pointer;
  }

  private fail(reason: string): never {
    throw new GrammarError(this.pointer, 'pattern', `${reason} (character ${this.at} of /${this.chars.join('')}/)`);
  }

  /** As `fail`, of a pattern that is right. */
  private lacks(what: string): never {
    throw new Unsupported(this.pointer, 'pattern', `${what} (character ${this.at} of /${this.chars.join('')}/)`);
  }

  private eat(c: string): boolean {
    if (this.chars[this.at] !== c) return false;
    this.at++;
    return true;
  }

  top(search: boolean): Regex {
    const parts: Regex[] = [];
    do {
      const from = this.eat('^');
      const body = this.sequence();
      const to = this.eat('$');
      parts.push({ kind: 'seq', parts: [...(from || !search ? [] : [anyChars]), body, ...(to || !search ? [] : [anyChars])] });
    } while (this.eat('|'));
    if (this.chars[this.at] === ')') this.fail('unmatched )');
    if (this.at < this.chars.length) this.lacks('anchors are supported only first and last');
    return parts.length === 1 ? parts[0] : { kind: 'alt', parts };
  }

  private sequence(): Regex {
    const parts: Regex[] = [];
    while (this.at < this.chars.length && !'|)$'.includes(this.chars[this.at])) parts.push(this.quantified());
    return parts.length === 1 ? parts[0] : { kind: 'seq', parts };
  }

  private quantified(): Regex {
    let node = this.atom();
    for (;;) {
      const q = this.quantifier();
      if (!q) return node;
      this.eat('?'); // lazy: the same language
      node = { kind: 'repeat', of: node, ...q };
    }
  }

  private quantifier(): { min: number; max: number } | undefined {
    if (this.eat('*')) return { min: 0, max: Infinity };
    if (this.eat('+')) return { min: 1, max: Infinity };
    if (this.eat('?')) return { min: 0, max: 1 };
    const m = /^\{(\d{1,7})(,(\d{1,7})?)?\}/.exec(this.chars.slice(this.at, this.at + 20).join(''));
    if (!m) return undefined;
    this.at += m[0].length;
    const min = Number(m[1]);
    const max = m[2] === undefined ? min : m[3] === undefined ? Infinity : Number(m[3]);
    if (max < min) this.fail('a repetition with its bounds swapped');
    return { min, max };
  }

  private atom(): Regex {
    const c = this.chars[this.at++];
    if (c === '.') return { kind: 'set', set: invert(NEWLINE) };
    if (c === '(') return this.group();
    if (c === '[') return { kind: 'set', set: this.charClass() };
    if (c === '\\') return { kind: 'set', set: this.escape(false) };
    if (c === '^') this.lacks('anchors are supported only first and last');
    if ('*+?'.includes(c)) this.fail('nothing to repeat');
    return { kind: 'set', set: this.one(c) };
  }

  private one(c: string): CharSet {
    const cp = c.codePointAt(0) as number;
    return union([cp, cp]);
  }

  private group(): Regex {
    if (++this.depth > LIMITS.depth) this.fail('groups nested too deep');
    if (this.eat('?') && !this.eat(':')) {
      const named = /^<[A-Za-z_]\w*>/.exec(this.chars.slice(this.at, this.at + 80).join(''));
      if (!named) this.lacks('lookahead, lookbehind and flags are not supported');
      this.at += named[0].length;
    }
    const parts: Regex[] = [];
    do parts.push(this.sequence());
    while (this.eat('|'));
    if (this.chars[this.at] === '$') this.lacks('anchors are supported only first and last');
    if (!this.eat(')')) this.fail('missing )');
    this.depth--;
    return parts.length === 1 ? parts[0] : { kind: 'alt', parts };
  }

  private charClass(): CharSet {
    const negated = this.eat('^');
    const sets: CharSet[] = [];
    while (!this.eat(']')) {
      if (this.at >= this.chars.length) this.fail('missing ]');
      const a = this.classAtom();
      if (this.chars[this.at] === '-' && this.at + 1 < this.chars.length && this.chars[this.at + 1] !== ']') {
        this.at++;
        const b = this.classAtom();
        if (a.length !== 2 || b.length !== 2 || a[0] !== a[1] || b[0] !== b[1] || a[0] > b[0]) this.fail('a bad range in a class');
        sets.push([a[0], b[0]]);
      } else sets.push(a);
    }
    const set = union(...sets);
    return negated ? invert(set) : set;
  }

  private classAtom(): CharSet {
    const c = this.chars[this.at++];
    return c === '\\' ? this.escape(true) : this.one(c);
  }

  private escape(inClass: boolean): CharSet {
    const c = this.chars[this.at++];
    if (c === undefined) this.fail('a lone backslash');
    if (Object.hasOwn(CLASSES, c)) return CLASSES[c];
    if (c === 'b' && inClass) return [8, 8];
    if (c === 'x') return this.hex(2);
    if (c === 'u') return this.eat('{') ? this.hexBraced() : this.hex(4);
    if (c === 'c' && /[A-Za-z]/.test(this.chars[this.at] ?? '')) {
      const cp = this.chars[this.at++].charCodeAt(0) & 31;
      return [cp, cp];
    }
    if (Object.hasOwn(CONTROLS, c)) return [CONTROLS[c], CONTROLS[c]];
    if (/[1-9k]/.test(c)) this.lacks('back references are not supported');
    if (/[A-Za-z]/.test(c)) this.lacks(`\\${c} is not supported`);
    return this.one(c);
  }

  private hex(n: number): CharSet {
    const read = () => {
      const s = this.chars.slice(this.at, this.at + n).join('');
      if (!new RegExp(`^[0-9A-Fa-f]{${n}}$`).test(s)) this.fail('a bad hexadecimal escape');
      this.at += n;
      return Number.parseInt(s, 16);
    };
    let cp = read();
    if (n === 4 && cp >= 0xd800 && cp <= 0xdbff && this.chars[this.at] === '\\' && this.chars[this.at + 1] === 'u') {
      this.at += 2;
      cp = 0x10000 + ((cp - 0xd800) << 10) + (read() - 0xdc00);
    }
    return union([cp, cp]);
  }

  private hexBraced(): CharSet {
    const end = this.chars.indexOf('}', this.at);
    const s = this.chars.slice(this.at, end).join('');
    const cp = Number.parseInt(s, 16);
    if (end < 0 || !/^[0-9A-Fa-f]{1,6}$/.test(s) || cp > 0x10ffff) this.fail('a bad hexadecimal escape');
    this.at = end + 1;
    return union([cp, cp]);
  }
}
