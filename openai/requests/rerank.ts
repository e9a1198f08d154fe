/** POST /v1/rerank, as Jina, Cohere and vLLM have it, and vLLM's POST /v1/score. Neither is of OpenAI's API. */

import { badRequest } from '../errors.ts';
import { EMBEDDING_LIMITS } from './embeddings.ts';
import { array, bodyObject, boolean, type Fields, integer, object, optional, string } from './fields.ts';
import { LIMITS } from './generation.ts';
import { checkParameters, type Parameter, type Parameters } from './parameters.ts';

/** Already checked and bounded; it crosses to the embedder as JSON. */
export interface RerankRequest {
  kind: 'rerank';
  model?: string;
  query: string;
  documents: string[];
  /** As many of the best are answered. */
  topN: number;
  returnDocuments: boolean;
}

/** As a RerankRequest is; pair i is first[i] and second[i]. */
export interface ScoreRequest {
  kind: 'score';
  model?: string;
  first: string[];
  second: string[];
}

const whole: Parameter = { use: 'refused', why: 'Texts are scored whole; one that is too long is refused, so split it.' };
const shared: Parameters = {
  model: 'read',
  truncate_prompt_tokens: whole,
  user: { use: 'ignored', why: 'names the end user for abuse reports; no part of the input' },
};

export const rerankParameters: Parameters = {
  ...shared,
  query: 'read',
  documents: 'read',
  top_n: 'read',
  return_documents: 'read',
  max_tokens_per_doc: whole,
  max_chunks_per_doc: whole,
  rank_fields: { use: 'refused', why: "Documents are texts, or objects with a 'text'.", neutral: [['text']] },
};

export const scoreParameters: Parameters = { ...shared, text_1: 'read', text_2: 'read' };

const text = (v: unknown, path: string): string => string(v, path, 1, EMBEDDING_LIMITS.text);

const modelOf = (body: Fields) => optional(body.model, (v) => string(v, 'model', 1, LIMITS.name));

/** Throws a 400 that names the parameter. */
export function parseRerank(value: unknown): RerankRequest {
  const body = bodyObject(value);
  checkParameters(body, rerankParameters);
  const documents = array(body.documents, 'documents', 1, EMBEDDING_LIMITS.inputs).map((d, i) => {
    const path = `documents[${i}]`;
    return typeof d === 'string' ? text(d, path) : text(object(d, path).text, `${path}.text`);
  });
  return {
    kind: 'rerank',
    model: modelOf(body),
    query: text(body.query, 'query'),
    documents,
    topN: optional(body.top_n, (v) => integer(v, 'top_n', 1, EMBEDDING_LIMITS.inputs)) ?? documents.length,
    returnDocuments: optional(body.return_documents, (v) => boolean(v, 'return_documents')) ?? false,
  };
}

/** Throws a 400 that names the parameter. */
export function parseScore(value: unknown): ScoreRequest {
  const body = bodyObject(value);
  checkParameters(body, scoreParameters);
  const first = texts(body.text_1, 'text_1');
  const second = texts(body.text_2, 'text_2');
  if (first.length !== 1 && first.length !== second.length)
    throw badRequest(`'text_1' has ${first.length} texts and 'text_2' ${second.length}: send one, or as many; they differ.`, 'text_1');
  return { kind: 'score', model: modelOf(body), first: first.length === 1 ? second.map(() => first[0]) : first, second };
}

const texts = (v: unknown, path: string): string[] =>
  typeof v === 'string' ? [text(v, path)] : array(v, path, 1, EMBEDDING_LIMITS.inputs).map((x, i) => text(x, `${path}[${i}]`));
