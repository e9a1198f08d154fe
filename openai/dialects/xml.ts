import type { Argument, Dialect, Head, NextArgument } from './dialect.ts';
import { begins, parsed } from './scan.ts';

const OPEN = '<function=';
const END = '</parameter>';
const CLOSE = '</function>';

/** Qwen3-Coder's call from `<function=` on, its white space before it included. */
export function functionHead(text: string): Head | 'more' | null {
  const body = text.trimStart();
  if (!body.startsWith(OPEN)) return OPEN.startsWith(body) ? 'more' : null;
  return named(text, text.length - body.length + OPEN.length);
}

function named(text: string, from: number): Head | 'more' | null {
  const name = /^([\w.-]{1,256})>/.exec(text.slice(from, from + 260));
  if (name) return { at: from + name[0].length, name: name[1], next };
  return /^[\w.-]{0,256}$/.test(text.slice(from)) ? 'more' : null;
}

/** `<parameter=name>\n…\n</parameter>`: text as it is where the parameter is text, else JSON, else text. */
const next: NextArgument = (text, _first, texts): Argument | 'more' | null => {
  const body = text.trimStart();
  const skipped = text.length - body.length;
  if (body.startsWith(CLOSE)) return { at: skipped + CLOSE.length, end: true };
  const open = /^<parameter=([^>\n]{1,256})>\n?/.exec(body);
  if (!open) return begins(body, CLOSE) || /^<parameter=[^>\n]{0,256}$/.test(body) || begins(body, '<parameter=') ? 'more' : null;
  const end = body.indexOf(END, open[0].length);
  if (end < 0) return 'more';
  const value = body.slice(open[0].length, end).replace(/\n$/, '');
  return { at: skipped + end + END.length, name: open[1], json: texts.has(open[1]) ? JSON.stringify(value) : jsonOf(value) };
};

/** A value that is no text, or may be one. */
function jsonOf(value: string): string {
  const word = value.trim();
  if (/^(?:true|false|null|none)$/i.test(word)) return /^none$/i.test(word) ? 'null' : word.toLowerCase();
  return parsed(word) === undefined ? JSON.stringify(value) : word;
}

/** A call that nothing opened but itself. */
export const xml: Dialect = {
  open: OPEN,
  head: (text, offered) => {
    const head = named(text, 0);
    return head === null || head === 'more' || offered.has(head.name) ? head : null;
  },
  tail: (text) => {
    const body = text.trimStart();
    const close = '</tool_call>';
    if (body.startsWith(close)) return { at: text.length - body.length + close.length, next: 'text' };
    return begins(body, close) ? 'more' : { at: 0, next: 'text' };
  },
};
