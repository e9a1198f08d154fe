import type { Dialect } from './dialect.ts';
import { hermes } from './hermes.ts';
import { json } from './json.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';

/** Read in every answer to a request with tools, whatever the model's template teaches: models mix them. */
export const TAGGED: readonly Dialect[] = [hermes, llama, mistral];
export const WHOLE: Dialect = json;
