import { type Dialect, jsonHead } from './dialect.ts';
import { json } from './json.ts';

/** Llama 3 after its tag: `<|python_tag|>{"name": "…", "parameters": {…}}`, several with `;` between them. */
export const llama: Dialect = { open: '<|python_tag|>', head: (text) => jsonHead(text), tail: json.tail };
