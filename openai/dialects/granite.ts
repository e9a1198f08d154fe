import type { Dialect } from './dialect.ts';
import { json } from './json.ts';
import { mistral } from './mistral.ts';

/** Granite 3: `<|tool_call|>[{"name": "…", "arguments": {…}}, …]`. */
export const granite: Dialect = { open: '<|tool_call|>', head: mistral.head, tail: json.tail };
