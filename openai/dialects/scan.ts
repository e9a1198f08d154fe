/** Reads the beginning of a text that may go on: a small matcher that can say "not yet known". */

/** A literal, one of several (none of which begins another), any white space, or a function's name as a JSON string. */
export type Part = string | readonly string[] | typeof SPACE | typeof NAME;
export const SPACE: unique symbol = Symbol('white space');
export const NAME: unique symbol = Symbol('a name');

const MAX_SPACE = 64;
const MAX_NAME = 256; // UTF-16 units, quotes included

/** Where the parts end in `text` and the name among them; `more` when the text ends before they do; null when they are not there. */
export type Scan = { at: number; name: string } | 'more' | null;

export function scan(text: string, parts: readonly Part[], from = 0): Scan {
  let at = from;
  let name = '';
  for (const part of parts) {
    if (part === SPACE) {
      const start = at;
      while (at < text.length && /\s/.test(text[at])) if (++at - start > MAX_SPACE) return null;
    } else if (part === NAME) {
      const string = /^"(?:[^"\\]|\\["\\/bfnrtu])*"/.exec(text.slice(at, at + MAX_NAME));
      if (!string) return /^(?:"|$)/.test(text.slice(at, at + 1)) && text.length - at < MAX_NAME ? 'more' : null;
      const value = parsed(string[0]);
      if (typeof value !== 'string' || value === '') return null;
      name = value;
      at += string[0].length;
    } else {
      const options = typeof part === 'string' ? [part] : part;
      const rest = text.slice(at);
      const found = options.find((o) => rest.startsWith(o));
      if (found === undefined) return options.some((o) => o.startsWith(rest)) ? 'more' : null;
      at += found.length;
    }
  }
  return { at, name };
}

/** Undefined where it is no JSON. */
export function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** Whether `text` is the beginning of `whole`, even nothing of it. */
export const begins = (text: string, whole: string): boolean => text.length < whole.length && whole.startsWith(text);
