import { Marked, type Token } from 'marked';
import { math } from './math.ts';
import { mend } from './mend.ts';

const marked = new Marked({ gfm: true, breaks: true }, { extensions: math });

/** Deeper quotes and lists are drawn at this depth: the parser's time grows with the square of it. */
const DEEPEST = 12;

/** The blocks of a text; one that the parser gives up on is a single paragraph. */
export function blocks(text: string): Token[] {
  try {
    return marked.lexer(flattened(text)).filter((token) => token.type !== 'space' && token.type !== 'def');
  } catch {
    return [{ type: 'paragraph', raw: text, text, tokens: [{ type: 'text', raw: text, text }] }];
  }
}

const DEEP_QUOTE = new RegExp(`^((?: {0,3}> ?){${DEEPEST}})[> ]*>`);
const DEEP_INDENT = new RegExp(`^[ \\t]{${4 * DEEPEST},}`);

/** Without what stands deeper than DEEPEST; fenced code stays as it is. */
function flattened(text: string): string {
  if (!/^(?:[ \t]{48}|(?: {0,3}> ?){13})/m.test(text)) return text;
  let fence = '';
  return text
    .split('\n')
    .map((line) => {
      const mark = /^\s*(`{3,}|~{3,})/.exec(line)?.[1] ?? '';
      if (fence ? mark.startsWith(fence) : mark) fence = fence ? '' : mark;
      return fence || mark ? line : line.replace(DEEP_QUOTE, '$1').replace(DEEP_INDENT, ' '.repeat(2 * DEEPEST));
    })
    .join('\n');
}

/**
 * The blocks of a text that grows: what can no longer change is kept from the last time, and only the end is read again. The
 * end is mended, so that it reads as it will when it is whole.
 */
export class GrowingBlocks {
  #kept: Token[] = [];
  #prefix = '';

  next(text: string): Token[] {
    if (!text.startsWith(this.#prefix)) {
      this.#kept = [];
      this.#prefix = '';
    }
    const rest = text.slice(this.#prefix.length);
    const tokens = lexed(mend(rest));
    const all = [...this.#kept, ...tokens.filter((token) => token.type !== 'space' && token.type !== 'def')];
    // the last block and the one before it may still change: a paragraph becomes a heading, a list goes on
    const last = tokens.findLastIndex((token) => token.type !== 'space');
    const before = tokens.findLastIndex((token, i) => i < last && token.type !== 'space');
    const stable = tokens.slice(0, Math.max(0, before));
    const raw = stable.map((token) => token.raw).join('');
    if (raw && rest.startsWith(raw)) {
      this.#kept.push(...stable.filter((token) => token.type !== 'space' && token.type !== 'def'));
      this.#prefix += raw;
    }
    return all;
  }
}

function lexed(text: string): Token[] {
  try {
    return marked.lexer(flattened(text));
  } catch {
    return blocks(text);
  }
}
