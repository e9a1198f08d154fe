/** POST /v1/embeddings. */

import { badRequest } from '../errors.ts';
import { array, bodyObject, integer, oneOf, optional, string } from './fields.ts';
import { LIMITS } from './generation.ts';
import { checkParameters, type Parameters } from './parameters.ts';

/** A request already checked and bounded; it crosses to the embedder as JSON. */
export interface EmbeddingsRequest {
  kind: 'embeddings';
  model?: string;
  /** Texts, or texts as token ids; 1 to 2,048 of them, none empty. */
  input: string[] | number[][];
  encodingFormat: 'float' | 'base64';
  /** Prefix of the vectors; undefined: all of them. */
  dimensions?: number;
}

export const EMBEDDING_LIMITS = {
  inputs: 2048,
  /** Ids in one input; the model's own limit is lower. */
  ids: 8192,
  /** UTF-16 units in one text: more cannot be 8,192 tokens of any use. */
  text: 1 << 18,
  dimensions: 8192,
} as const;

export const embeddingsParameters: Parameters = {
  model: 'read',
  input: 'read',
  encoding_format: 'read',
  dimensions: 'read',
  user: { use: 'ignored', why: 'names the end user for abuse reports; no part of the input' },
};

/** Throws a 400 that names the parameter. */
export function parseEmbeddings(value: unknown): EmbeddingsRequest {
  const body = bodyObject(value);
  checkParameters(body, embeddingsParameters);
  return {
    kind: 'embeddings',
    model: optional(body.model, (v) => string(v, 'model', 1, LIMITS.name)),
    input: readInput(body.input),
    encodingFormat: optional(body.encoding_format, (v) => oneOf(v, 'encoding_format', ['float', 'base64'] as const)) ?? 'float',
    dimensions: optional(body.dimensions, (v) => integer(v, 'dimensions', 1, EMBEDDING_LIMITS.dimensions)),
  };
}

/** A text, texts, ids, or arrays of ids: OpenAI's four forms. */
function readInput(v: unknown): string[] | number[][] {
  if (typeof v === 'string') return [readText(v, 'input')];
  const all = array(v, 'input', 1, EMBEDDING_LIMITS.ids);
  if (typeof all[0] === 'number') return [readIds(all, 'input')];
  if (all.length > EMBEDDING_LIMITS.inputs) {
    throw badRequest(
      `Invalid 'input': at most ${EMBEDDING_LIMITS.inputs} inputs a request, got ${all.length}.`,
      'input',
      'array_above_max_length',
    );
  }
  if (Array.isArray(all[0])) return all.map((x, i) => readIds(x, `input[${i}]`));
  return all.map((x, i) => readText(x, `input[${i}]`));
}

const readText = (v: unknown, path: string): string => string(v, path, 1, EMBEDDING_LIMITS.text);

const readIds = (v: unknown, path: string): number[] =>
  array(v, path, 1, EMBEDDING_LIMITS.ids).map((id, i) => integer(id, `${path}[${i}]`, 0, LIMITS.tokenId));
