import { type Dialect, jsonHead } from './dialect.ts';
import { functionHead } from './xml.ts';

const CLOSE = '</tool_call>';

/** Hermes and Qwen: `<tool_call>\n{"name": "…", "arguments": {…}}\n</tool_call>`; in Qwen3-Coder's tags `<function=…>` in its place. From the arguments' end to the tag there is only the block's own end. */
export const hermes: Dialect = {
  open: '<tool_call>',
  close: CLOSE,
  head: (text) => {
    const xml = functionHead(text);
    if (xml !== null && (xml !== 'more' || text.trimStart() !== '')) return xml;
    const head = jsonHead(text);
    return head !== null && head !== 'more' && head.whole ? null : head;
  },
  tail: (text) => {
    const at = text.indexOf(CLOSE);
    return at < 0 ? 'more' : { at: at + CLOSE.length, next: 'text' };
  },
};
