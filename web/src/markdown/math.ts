import type { TokenizerAndRendererExtension, Tokens } from 'marked';

/** LaTeX between its delimiters. */
export interface MathToken extends Tokens.Generic {
  type: 'math';
  tex: string;
  display: boolean;
}

const BLOCK = /^(?:\$\$([^$]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/;
/** A dollar opens before a letter, digit, sign or backslash and closes after one that no digit follows: prices stay prices. */
const INLINE = /^(?:\$\$([^$\n]+?)\$\$|\$(?! )((?:\\.|[^\\$\n])+?)(?<! )\$(?!\d)|\\\(([^\n]+?)\\\)|\\\[([^\n]+?)\\\])/;
/** One variable, or something only a formula has. */
const FORMULA = /^[a-zA-Z]$|[\\^_{}=+*/<>|]|[a-zA-Z]\s*[-(]/;

const token = (raw: string, tex: string, display: boolean): MathToken => ({ type: 'math', raw, tex: tex.trim(), display });

export const math: TokenizerAndRendererExtension[] = [
  {
    name: 'math',
    level: 'block',
    start: (src) => /\$\$|\\\[/.exec(src)?.index,
    tokenizer(src) {
      const [raw, dollars, brackets] = BLOCK.exec(src) ?? [];
      return raw === undefined ? undefined : token(raw, dollars ?? brackets, true);
    },
  },
  {
    name: 'math',
    level: 'inline',
    start: (src) => /\$|\\\(|\\\[/.exec(src)?.index,
    tokenizer(src) {
      const [raw, display, dollar, round, square] = INLINE.exec(src) ?? [];
      if (raw === undefined || (dollar !== undefined && !FORMULA.test(dollar))) return undefined;
      return token(raw, display ?? dollar ?? round ?? square, (display ?? square) !== undefined);
    },
  },
];
