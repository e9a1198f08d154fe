import { complement, type Dfa, toDfa } from './dfa.ts';
import { parseRegex } from './regex.ts';

/** How values are written. Numbers, brackets and braces are the same in all. */
export interface Syntax {
  readonly yes: string;
  readonly no: string;
  readonly nothing: string;
  /** Between items and between members. */
  readonly comma: string;
  /** Between a member's name and its value. */
  readonly colon: string;
  /** Around a string. */
  readonly quotes: readonly [open: string, close: string];
  /** Characters as a JSON string writes them; else they stand as they are, and no string holds its own closing quotes. */
  readonly escapes: boolean;
  /** Names of members without quotes. */
  readonly bareNames?: true;
}

/** As Python's json.dumps writes it. */
export const JSON_SYNTAX: Syntax = {
  yes: 'true',
  no: 'false',
  nothing: 'null',
  comma: ', ',
  colon: ': ',
  quotes: ['"', '"'],
  escapes: true,
};

/** Python's literals. */
export const PYTHON: Syntax = { ...JSON_SYNTAX, yes: 'True', no: 'False', nothing: 'None' };

/** FunctionGemma's: `{city:<escape>Oslo<escape>,days:3}`. */
export const ESCAPE_TAGS: Syntax = {
  ...JSON_SYNTAX,
  comma: ',',
  colon: ':',
  quotes: ['<escape>', '<escape>'],
  escapes: false,
  bareNames: true,
};

/** A string as it is, up to what ends it. */
export const rawUntil = (end: string): Syntax => ({ ...JSON_SYNTAX, quotes: ['', end], escapes: false });

const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&').replaceAll('\n', '\\n');

/** Texts in which `end` does not occur. */
export const without = (end: string): Dfa => complement(toDfa(parseRegex(literal(end), '', true)));

/** Names that may stand without quotes. */
export const BARE_NAME = /^[\p{L}\p{N}_.$/-]{1,256}$/u;
export const bareNames = (): Dfa => toDfa(parseRegex('^[A-Za-z0-9_.$-]+$', '', true));
