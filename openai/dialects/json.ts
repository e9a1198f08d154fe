import { type Dialect, jsonHead } from './dialect.ts';
import { type Part, SPACE, scan } from './scan.ts';

const OPENINGS: readonly (readonly Part[])[] = ['', '```', '```json'].map((fence) => [SPACE, fence, SPACE, ['[', ''], SPACE]);

const FURTHER: typeof OPENINGS = [[SPACE]];

/** After a call: its own brace, a list's, a code block's end, and what stands between two calls. */
const TAIL = /^\s*\}?\s*(?:\]\s*)?(?:```\s*)?[;,]?\s*/;

/** JSON as the whole answer: `{"name": "…", "arguments": {…}}`, or Llama's `parameters`, bare, in a list or in a code block. Only of a tool that was offered. */
export const json: Dialect = {
  open: '',
  head: (text, offered, further) => {
    let more = false;
    for (const opening of further ? FURTHER : OPENINGS) {
      const begun = scan(text, opening);
      const head = begun && begun !== 'more' ? jsonHead(text, begun.at) : begun;
      if (head === 'more') more = true;
      else if (head && offered.has(head.name)) return head;
    }
    return more ? 'more' : null;
  },
  tail: (text) => {
    const at = TAIL.exec(text)?.[0].length ?? 0;
    if (at === text.length || /^`{1,2}$/.test(text.slice(at))) return 'more';
    return { at, next: 'call' };
  },
};
