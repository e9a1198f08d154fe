/** OpenAI's own description of its API as JSON schemas, when the file is there. */

import { existsSync, readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { parse } from 'yaml';

const FILE = new URL('../../../shared/data/api/openapi.yaml', import.meta.url);

/** Why the tests that need it are skipped, or null. */
export const missing: string | null = existsSync(FILE) ? null : '../shared/data/api/openapi.yaml is not there';

type Json = { [key: string]: Json } | Json[] | string | number | boolean | null;

/** OpenAPI 3.0's `nullable` and discriminators in 3.1's JSON Schema words. */
function modern(v: Json): Json {
  if (Array.isArray(v)) return v.map(modern);
  if (typeof v !== 'object' || v === null) return v;
  const rest: { [key: string]: Json } = {};
  for (const [key, value] of Object.entries(v)) {
    if (key !== 'nullable' && key !== 'discriminator' && key !== 'example' && !key.startsWith('x-')) rest[key] = modern(value);
  }
  return v.nullable === true ? { anyOf: [rest, { type: 'null' }] } : rest;
}

interface Description {
  components: { schemas: { [name: string]: Json } };
}

const cached: { document?: Description; ajv?: Ajv2020 } = {};

export function description(): Description {
  if (cached.document) return cached.document;
  const document = modern(parse(readFileSync(FILE, 'utf8'))) as unknown as Description;
  // while a response runs the API itself says null, and Open Responses demands it
  const { schemas } = document.components;
  schemas.ResponseUsage = { anyOf: [schemas.ResponseUsage, { type: 'null' }] };
  cached.document = document;
  return document;
}

const validators = new Map<string, ValidateFunction>();

/** Throws, with the schema's own words, when `value` is no `name`. */
export function check(name: string, value: unknown): void {
  if (!cached.ajv) {
    cached.ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
    cached.ajv.addSchema({ $id: 'openai', components: description().components });
  }
  let validate = validators.get(name);
  if (!validate) {
    validate = cached.ajv.compile({ $ref: `openai#/components/schemas/${name}` });
    validators.set(name, validate);
  }
  if (!validate(value)) {
    throw new Error(`not a ${name}: ${cached.ajv.errorsText(validate.errors).slice(0, 2000)}\n${JSON.stringify(value)}`);
  }
}

/** The names of an object schema's properties, through allOf and references. */
export function properties(name: string): string[] {
  const { schemas } = description().components;
  const walk = (s: Json): string[] => {
    if (typeof s !== 'object' || s === null || Array.isArray(s)) return [];
    if (typeof s.$ref === 'string') return walk(schemas[s.$ref.split('/').at(-1)!]);
    return [...Object.keys((s.properties as object | undefined) ?? {}), ...((s.allOf as Json[] | undefined) ?? []).flatMap(walk)];
  };
  return [...new Set(walk(schemas[name]))];
}
