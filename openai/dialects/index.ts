import type { Dialect } from './dialect.ts';
import { gemma } from './gemma.ts';
import { granite } from './granite.ts';
import { hermes } from './hermes.ts';
import { json } from './json.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { python } from './python.ts';
import { xml } from './xml.ts';

/** Read in every answer to a request with tools, whatever the model's template teaches: models mix them. */
export const TAGGED: readonly Dialect[] = [hermes, llama, mistral, granite, gemma, python, xml];
export const WHOLE: Dialect = json;
