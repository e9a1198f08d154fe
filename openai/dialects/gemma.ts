import type { Argument, Dialect, NextArgument } from './dialect.ts';
import { begins, parsed } from './scan.ts';

const ESCAPE = '<escape>';
const CLOSE = '<end_function_call>';
const MAX_DEPTH = 64;

/** FunctionGemma: `<start_function_call>call:name{city:<escape>Oslo<escape>,days:3}<end_function_call>`. */
export const gemma: Dialect = {
  open: '<start_function_call>',
  head: (text) => {
    const head = /^\s{0,64}call:\s{0,64}([\w.-]{1,256})\{/.exec(text);
    if (head) return { at: head[0].length, name: head[1], next };
    return /^\s{0,64}(?:c|ca|cal|call|call:\s{0,64}[\w.-]{0,256})?$/.test(text) ? 'more' : null;
  },
  tail: (text) => {
    const body = text.trimStart();
    if (body.startsWith(CLOSE)) return { at: text.length - body.length + CLOSE.length, next: 'text' };
    return begins(body, CLOSE) ? 'more' : { at: 0, next: 'text' };
  },
};

const next: NextArgument = (text, first): Argument | 'more' | null => {
  if (text === '') return 'more';
  if (text[0] === '}') return { at: 1, end: true };
  const name = (first ? /^([^:{}<,]{1,256}):/ : /^,([^:{}<,]{1,256}):/).exec(text);
  if (!name) return /^,?[^:{}<,]{0,256}$/.test(text) ? 'more' : null;
  const value = valueAt(text, name[0].length, 0);
  return value === 'more' || value === null ? value : { ...value, name: name[1].trim() };
};

type Value = { at: number; json: string } | 'more' | null;

function valueAt(text: string, from: number, depth: number): Value {
  if (depth > MAX_DEPTH) return null;
  if (text.startsWith(ESCAPE, from)) {
    const end = text.indexOf(ESCAPE, from + ESCAPE.length);
    return end < 0 ? 'more' : { at: end + ESCAPE.length, json: JSON.stringify(text.slice(from + ESCAPE.length, end)) };
  }
  if (begins(text.slice(from), ESCAPE)) return 'more';
  const bracket = text[from];
  if (bracket !== '{' && bracket !== '[') {
    const word = /^[^,{}[\]<]*/.exec(text.slice(from))?.[0] ?? '';
    if (from + word.length === text.length) return 'more';
    return { at: from + word.length, json: parsed(word) === undefined ? JSON.stringify(word) : word };
  }
  const close = bracket === '{' ? '}' : ']';
  const parts: string[] = [];
  let at = from + 1;
  for (;;) {
    if (at >= text.length) return 'more';
    if (text[at] === close && parts.length === 0) return { at: at + 1, json: bracket + close };
    let name = '';
    if (bracket === '{') {
      const key = /^([^:{}<,]{1,256}):/.exec(text.slice(at, at + 258));
      if (!key) return /^[^:{}<,]{0,256}$/.test(text.slice(at)) ? 'more' : null;
      name = `${JSON.stringify(key[1].trim())}: `;
      at += key[0].length;
    }
    const value = valueAt(text, at, depth + 1);
    if (value === 'more' || value === null) return value;
    parts.push(name + value.json);
    at = value.at;
    if (at >= text.length) return 'more';
    if (text[at] === close) return { at: at + 1, json: bracket + parts.join(', ') + close };
    if (text[at] !== ',') return null;
    at++;
  }
}
