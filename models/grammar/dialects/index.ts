import type { Dialect } from './dialect.ts';
import { hermes } from './hermes.ts';
import { json } from './json.ts';
import { llama } from './llama.ts';
import { mistral, mistralArgs } from './mistral.ts';

export type { Callable, Dialect, Tag } from './dialect.ts';
export { TAGS } from './dialect.ts';

export const DIALECTS = { hermes, llama, mistral, 'mistral-args': mistralArgs, json } satisfies Record<string, Dialect>;
export type DialectName = keyof typeof DIALECTS;

/** The dialect that a chat template teaches, by the tags it names. One that names none but prints tools teaches bare JSON. */
export function dialectOf(template: string, printsTools: boolean): DialectName {
  if (template.includes('[TOOL_CALLS]')) return template.includes('[ARGS]') ? 'mistral-args' : 'mistral';
  if (template.includes('<tool_call>')) return 'hermes';
  if (template.includes('<|python_tag|>') || template.includes('"parameters": ')) return 'llama';
  return printsTools ? 'json' : 'hermes';
}
