/** The answer's form under all its names: OpenAI's `response_format`, vLLM's `guided_*` and `structured_outputs`, llama.cpp's `json_schema` and `grammar`. */

import { badRequest } from '../errors.ts';
import { array, boolean, type Fields, object, optional, string } from './fields.ts';
import { readResponseFormat, readSchema } from './tools.ts';
import type { ResponseFormat } from './types.ts';

const MAX_CHOICES = 1000;
const MAX_CHOICE = 4096; // UTF-16 units
const MAX_TEXT = 65_536; // of a pattern, a grammar or a schema

type Reader = (v: unknown, path: string) => ResponseFormat;

/** Enforced whole or refused, as its servers do. */
const jsonOf =
  (strict: boolean): Reader =>
  (v, param) => ({
    type: 'json_schema',
    name: 'answer',
    schema: readSchema(typeof v === 'string' ? parsed(v, param) : v, param),
    strict,
    param,
  });
const regex: Reader = (v, param) => ({ type: 'regex', pattern: string(v, param, 1, MAX_TEXT), param });
const grammar: Reader = (v, param) => ({ type: 'grammar', grammar: string(v, param, 1, MAX_TEXT), param });
const choice: Reader = (v, param) => ({
  type: 'choice',
  choices: array(v, param, 1, MAX_CHOICES).map((c, i) => string(c, `${param}[${i}]`, 0, MAX_CHOICE)),
  param,
});

const READERS: Readonly<Record<string, Reader>> = {
  guided_json: jsonOf(true),
  guided_regex: regex,
  guided_choice: choice,
  guided_grammar: grammar,
  json_schema: jsonOf(false),
  regex,
  choice,
  grammar,
  ebnf: grammar,
};

/** Names of `READERS` and what holds several of them. */
export const FORM_PARAMETERS: readonly string[] = [...Object.keys(READERS), 'structured_outputs'];

const STRUCTURED: Readonly<Record<string, Reader>> = {
  json: jsonOf(true),
  regex,
  choice,
  grammar,
  json_object: (v, param) => (boolean(v, param) ? { type: 'json_object' } : { type: 'text' }),
};
/** Hints of vLLM's that change no text here: there is no fallback, and no white space but one after ':' and ','. */
export const HINTS: ReadonlySet<string> = new Set([
  'disable_fallback',
  'disable_any_whitespace',
  'disable_additional_properties',
  'whitespace_pattern',
]);

/** What the answer must be; a request names it once. `given`: read already, under the API's own name. */
export function readForm(body: Fields, given: ResponseFormat = readResponseFormat(body.response_format)): ResponseFormat {
  const forms = Object.entries(READERS).flatMap(([name, read]) => optional(body[name], (v) => read(v, name)) ?? []);
  forms.push(...readStructured(body.structured_outputs));
  if (given.type !== 'text') forms.unshift(given);
  if (forms.length > 1) {
    const param = paramOf(forms[1]) ?? 'structured_outputs';
    throw badRequest(
      `'${paramOf(forms[0]) ?? 'response_format'}' and '${param}' both say what the answer must be; send one of them.`,
      param,
    );
  }
  return forms[0] ?? given;
}

function readStructured(v: unknown): ResponseFormat[] {
  const given = optional(v, (o) => object(o, 'structured_outputs')) ?? {};
  const forms: ResponseFormat[] = [];
  for (const [name, value] of Object.entries(given)) {
    if (value === null || HINTS.has(name)) continue;
    const path = `structured_outputs.${name}`;
    if (!Object.hasOwn(STRUCTURED, name))
      throw badRequest(
        "Unknown parameter in 'structured_outputs': json, json_object, regex, choice and grammar are known.",
        'structured_outputs',
        'unknown_parameter',
      );
    const form = STRUCTURED[name](value, path);
    if (form.type !== 'text') forms.push(form);
  }
  return forms;
}

const paramOf = (f: ResponseFormat): string | undefined => ('param' in f ? f.param : undefined);

function parsed(text: string, path: string): unknown {
  try {
    return JSON.parse(string(text, path, 1, MAX_TEXT));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw badRequest(`Invalid '${path}': the text is no JSON.`, path);
  }
}
