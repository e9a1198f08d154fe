import { TAGS, type Tag } from '../tags.ts';
import type { Dialect } from './dialect.ts';
import { gemma } from './gemma.ts';
import { granite } from './granite.ts';
import { hermes } from './hermes.ts';
import { json } from './json.ts';
import { llama } from './llama.ts';
import { mistral, mistralArgs } from './mistral.ts';
import { python } from './python.ts';
import { xml } from './xml.ts';

export type { Callable, Dialect } from './dialect.ts';

export const DIALECTS = {
  hermes,
  llama,
  mistral,
  'mistral-args': mistralArgs,
  granite,
  gemma,
  python,
  xml,
  json,
} satisfies Record<string, Dialect>;
export type DialectName = keyof typeof DIALECTS;
export const DIALECT_NAMES = Object.keys(DIALECTS) as DialectName[];

/** What in a chat template tells which dialect it teaches; the first that is there. */
const TOLD: readonly [text: string, dialect: DialectName][] = [
  ['[ARGS]', 'mistral-args'],
  ['[TOOL_CALLS]', 'mistral'],
  ['<start_function_call>', 'gemma'],
  ['<function=', 'xml'], // within <tool_call>
  ['<|tool_call_start|>', 'python'],
  ['<|tool_list_start|>', 'python'],
  ['<|tool_call|>', 'granite'],
  ['<tool_call>', 'hermes'],
  ['<|python_tag|>', 'llama'],
  ['"parameters": ', 'llama'],
];

/**
 * The dialect that a chat template teaches, by the tags it names. One that names none but prints tools teaches that of the tag that
 * the vocabulary has as a token of its own (`hasToken`), else bare JSON.
 */
export function dialectOf(template: string, printsTools: boolean, hasToken: (tag: Tag) => boolean = () => false): DialectName {
  const told = TOLD.find(([text]) => template.includes(text));
  if (told) return told[1];
  if (!printsTools) return 'hermes';
  const tag = TAGS.find(hasToken);
  return TOLD.find(([text]) => text === tag)?.[1] ?? 'json';
}
