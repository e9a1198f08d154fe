import { type Dialect, jsonHead } from './dialect.ts';
import { json } from './json.ts';
import { SPACE, scan } from './scan.ts';

/** Mistral: `[TOOL_CALLS] [{"name": "…", "arguments": {…}}, …]`, and since its tokenizer v11 `[TOOL_CALLS]name[ARGS]{…}`. */
export const mistral: Dialect = {
  open: '[TOOL_CALLS]',
  head: (text, _offered, further) => {
    const named = /^\s{0,64}([\w-]{1,64})\s{0,64}(?:(\[ARGS\])?\s{0,64}(?=\{)|(\[(?:A(?:R(?:G(?:S)?)?)?)?)?$|\[ARGS\]\s{0,64}$)/.exec(text);
    if (named && !further) return text[named[0].length] === '{' ? { at: named[0].length, name: named[1] } : 'more';
    const begun = scan(text, further ? [SPACE] : [SPACE, '[', SPACE]);
    const head = begun && begun !== 'more' ? jsonHead(text, begun.at) : begun;
    if (head === null && !further) return jsonHead(text);
    return head;
  },
  tail: (text) =>
    text.trimStart().startsWith('[TOOL_CALLS]')
      ? { at: 0, next: 'text' }
      : '[TOOL_CALLS]'.startsWith(text.trimStart())
        ? 'more'
        : json.tail(text),
};
