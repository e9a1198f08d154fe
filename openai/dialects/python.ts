import type { Argument, Dialect, NextArgument } from './dialect.ts';
import { json } from './json.ts';
import { begins, parsed } from './scan.ts';

const CLOSE = '<|tool_call_end|>';
const MAX_DEPTH = 64;

/** LFM2: `<|tool_call_start|>[name(city="Oslo", days=3), …]<|tool_call_end|>`, or JSON in its place where the prompt asked for that. */
export const python: Dialect = {
  open: '<|tool_call_start|>',
  head: (text, offered, further) => {
    const head = (further ? /^\s{0,64}([\w.-]{1,256})\(/ : /^\s{0,64}\[?\s{0,64}([\w.-]{1,256})\(/).exec(text);
    if (head) return { at: head[0].length, name: head[1], next };
    const whole = json.head(text, offered, further);
    if (whole !== null) return whole;
    return /^\s{0,64}\[?\s{0,64}[\w.-]{0,256}$/.test(text) ? 'more' : null;
  },
  tail: (text) => {
    const body = text.replace(/^\s*\}?\s*/, ''); // a brace: of JSON
    const at = text.length - body.length;
    if (/^[,;]/.test(body)) return { at: at + 1, next: 'call' };
    const end = body.replace(/^\]\s*/, '');
    if (end.startsWith(CLOSE)) return { at: text.length - end.length + CLOSE.length, next: 'text' };
    return begins(end, CLOSE) ? 'more' : { at: text.length - end.length, next: 'text' };
  },
};

const next: NextArgument = (text, first): Argument | 'more' | null => {
  const at = /^\s*/.exec(text)?.[0].length ?? 0;
  if (at === text.length) return 'more';
  if (text[at] === ')') return { at: at + 1, end: true };
  const name = (first ? /^\s*([^\s=(),]{1,256})\s*=\s*/ : /^\s*,\s*([^\s=(),]{1,256})\s*=\s*/).exec(text);
  if (!name) return /^\s*,?\s*[^\s=(),]{0,256}\s*$/.test(text) ? 'more' : null;
  const value = valueAt(text, name[0].length, 0);
  return value === 'more' || value === null ? value : { ...value, name: name[1] };
};

type Value = { at: number; json: string } | 'more' | null;

const WORDS: Record<string, string> = { True: 'true', False: 'false', None: 'null', true: 'true', false: 'false', null: 'null' };
const LETTERS: Record<string, string> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f', '0': '\0' };

/** A literal of Python's as JSON text. */
function valueAt(text: string, from: number, depth: number): Value {
  if (depth > MAX_DEPTH) return null;
  if (from >= text.length) return 'more';
  const c = text[from];
  if (c === '"' || c === "'") return stringAt(text, from);
  if (c === '[' || c === '{' || c === '(') return listAt(text, from, depth);
  const word = /^[^\s,()[\]{}:=]*/.exec(text.slice(from))?.[0] ?? '';
  if (from + word.length === text.length) return 'more';
  const json = WORDS[word] ?? (typeof parsed(word) === 'number' ? word : undefined);
  return json === undefined ? null : { at: from + word.length, json };
}

function stringAt(text: string, from: number): Value {
  const quote = text[from];
  let value = '';
  for (let i = from + 1; i < text.length; i++) {
    if (text[i] === quote) return { at: i + 1, json: JSON.stringify(value) };
    if (text[i] !== '\\') {
      value += text[i];
      continue;
    }
    const code = /^\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8}))/.exec(text.slice(i, i + 10));
    if (code) {
      const point = Number.parseInt(code[1] ?? code[2] ?? code[3], 16);
      if (point > 0x10ffff) return null;
      value += String.fromCodePoint(point);
      i += code[0].length - 1;
    } else {
      i++;
      if (i < text.length) value += LETTERS[text[i]] ?? text[i];
    }
  }
  return 'more';
}

function listAt(text: string, from: number, depth: number): Value {
  const dict = text[from] === '{';
  const close = dict ? '}' : text[from] === '[' ? ']' : ')';
  const parts: string[] = [];
  const shut = (at: number): Value => ({ at: at + 1, json: dict ? `{${parts.join(', ')}}` : `[${parts.join(', ')}]` });
  let at = from + 1;
  for (;;) {
    at = past(text, at);
    if (at >= text.length) return 'more';
    if (text[at] === close) return shut(at);
    const key = dict ? keyAt(text, at) : undefined;
    if (key === 'more' || key === null) return key;
    if (key) at = past(text, key.at + 1);
    const value = valueAt(text, at, depth + 1);
    if (value === 'more' || value === null) return value;
    parts.push((key ? `${key.json}: ` : '') + value.json);
    at = past(text, value.at);
    if (at >= text.length) return 'more';
    if (text[at] === close) return shut(at);
    if (text[at] !== ',') return null;
    at++;
  }
}

/** A dictionary's key, which must be a string, up to its colon. */
function keyAt(text: string, from: number): Value {
  if (text[from] !== '"' && text[from] !== "'") return null;
  const key = stringAt(text, from);
  if (key === 'more' || key === null) return key;
  const at = past(text, key.at);
  if (at >= text.length) return 'more';
  return text[at] === ':' ? { at, json: key.json } : null;
}

function past(text: string, from: number): number {
  let at = from;
  while (at < text.length && /\s/.test(text[at])) at++;
  return at;
}
