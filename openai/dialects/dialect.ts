import { NAME, type Part, parsed, SPACE, scan } from './scan.ts';

/** Where a call's head ends and its arguments begin; `whole`: there are none. */
export interface Head {
  at: number;
  name: string;
  whole?: boolean;
  /** Reads arguments that are no JSON, one after the other. */
  next?: NextArgument;
}

/** An argument at the beginning of a text, its value as JSON text; or the arguments' end. */
export type Argument = { at: number; name: string; json: string } | { at: number; end: true };

/** `texts`: parameters that are text and nothing else, which may stand as they are. */
export type NextArgument = (text: string, first: boolean, texts: ReadonlySet<string>) => Argument | 'more' | null;

/** The tools that were offered: of each its parameters that are text and nothing else. */
export type Offered = ReadonlyMap<string, ReadonlySet<string>>;

/** How a family of models writes tool calls, as the parser reads them. */
export interface Dialect {
  /** What opens a block in the text; '': the text's own beginning does. */
  open: string;
  /** A call's head at the beginning of `text`, when `text` follows an opening, or (`further`) another call. */
  head(text: string, offered: Offered, further: boolean): Head | 'more' | null;
  /** After a call's arguments: how much of `text` still belongs to it, and whether another one may follow before the block ends. */
  tail(text: string): { at: number; next: 'call' | 'text' } | 'more';
  /** What closes a block: where its first call has no head that can be read as it comes, it is read whole at its end. */
  close?: string;
}

const KEY: readonly Part[] = [SPACE, ',', SPACE, ['"arguments"', '"parameters"'], SPACE, ':', SPACE];

/** `{"name": "…", "arguments": ` up to the arguments' brace, from `from` on; `"type": "function", ` may come before the name. */
export function jsonHead(text: string, from = 0): Head | 'more' | null {
  const typed = scan(text, [SPACE, '{', SPACE, '"type"', SPACE, ':', SPACE, '"function"', SPACE, ','], from);
  const begin: readonly Part[] = typed && typed !== 'more' ? [SPACE] : [SPACE, '{', SPACE];
  const named = scan(text, [...begin, '"name"', SPACE, ':', SPACE, NAME], typed && typed !== 'more' ? typed.at : from);
  if (named === null || named === 'more') return named ?? (typed === 'more' ? 'more' : null);
  const end = scan(text, [SPACE, '}'], named.at);
  if (end && end !== 'more') return { at: end.at, name: named.name, whole: true };
  const key = scan(text, KEY, named.at);
  if (key === null || key === 'more') return key;
  if (key.at === text.length) return 'more';
  return text[key.at] === '{' ? { at: key.at, name: named.name } : null;
}

/** A whole call as JSON, its keys in any order; arguments may be JSON text. Undefined when it is none. */
export function wholeCall(body: string): { name: string; arguments: string } | undefined {
  const value = parsed(body);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const { name, parameters, arguments: args = parameters ?? {} } = value as { name?: unknown; parameters?: unknown; arguments?: unknown };
  if (typeof name !== 'string' || name === '') return undefined;
  return { name, arguments: typeof args === 'string' ? args : JSON.stringify(args ?? {}) };
}
