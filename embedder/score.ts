/** How well two texts belong together: by a model that reads both at once, or by the cosine of the vectors that it makes of each. */
import { badRequest, modelNotFound } from '../openai/errors.ts';
import type { RerankRequest, ScoreRequest } from '../openai/requests/rerank.ts';
import type { ScoredBy } from '../openai/rerank.ts';
import { rerankResponse, scoreResponse } from '../openai/rerank.ts';
import { isScorer } from './manifest.ts';
import type { EmbeddingModel } from './model.ts';
import { betweenBatches, checkLength, checkTotal, type ServeOptions } from './serve.ts';

/** Two texts, and what they are called in the request. */
interface Pair {
  texts: readonly [string, string];
  paths: readonly [string, string];
}

interface Scored {
  /** A cross-encoder's in 0..1, a cosine in −1..1. */
  scores: number[];
  tokens: number;
  scoredBy: ScoredBy;
}

export async function serveRerank(model: EmbeddingModel, request: RerankRequest, o: ServeOptions = {}) {
  const { query, documents } = request;
  const pairs = documents.map((d, i): Pair => ({ texts: [query, d], paths: ['query', `documents[${i}]`] }));
  const scored = await scoresOf(model, request.model, pairs, o);
  return rerankResponse({ id: `rerank-${crypto.randomUUID()}`, model: model.manifest.name, ...scored }, request);
}

export async function serveScore(model: EmbeddingModel, request: ScoreRequest, o: ServeOptions = {}) {
  const pairs = request.second.map((b, i): Pair => ({ texts: [request.first[i], b], paths: [`text_1[${i}]`, `text_2[${i}]`] }));
  const scored = await scoresOf(model, request.model, pairs, o);
  return scoreResponse({ id: `score-${crypto.randomUUID()}`, model: model.manifest.name, ...scored });
}

function scoresOf(model: EmbeddingModel, asked: string | undefined, pairs: readonly Pair[], o: ServeOptions): Promise<Scored> {
  const { manifest } = model;
  if (asked !== undefined && asked !== manifest.name) throw modelNotFound(asked, manifest.name);
  return isScorer(manifest) ? together(model, pairs, o) : apart(model, pairs, o);
}

/** Both texts of a pair in one row. */
async function together(model: EmbeddingModel, pairs: readonly Pair[], o: ServeOptions): Promise<Scored> {
  const rows = pairs.map(({ texts, paths }) => {
    const row = model.tokenizer.encodePair(...texts);
    checkLength(model, row.ids.length, paths[1]);
    return row;
  });
  const tokens = checkTotal(
    rows.map((r) => r.ids),
    'documents',
  );
  const logits = await model.score(rows, betweenBatches(o));
  return { scores: logits.map((x) => 1 / (1 + Math.exp(-x))), tokens, scoredBy: 'cross-encoder' };
}

/** Each text once, however many pairs have it. */
async function apart(model: EmbeddingModel, pairs: readonly Pair[], o: ServeOptions): Promise<Scored> {
  const at = new Map<string, number>();
  const rows: number[][] = [];
  for (const { texts, paths } of pairs) {
    for (const [i, text] of texts.entries()) {
      if (at.has(text)) continue;
      const ids = model.tokenizer.encode(text);
      if (ids.length === 0) throw badRequest(`Invalid '${paths[i]}': the text has no tokens.`, paths[i]);
      checkLength(model, ids.length, paths[i]);
      at.set(text, rows.length);
      rows.push(ids);
    }
  }
  const tokens = checkTotal(rows, 'documents');
  const vectors = await model.embed(rows, model.manifest.dim, betweenBatches(o));
  const of = (text: string) => vectors[at.get(text) as number];
  return { scores: pairs.map(({ texts: [a, b] }) => cosine(of(a), of(b))), tokens, scoredBy: 'cosine' };
}

function cosine(a: Float32Array, b: Float32Array): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return ab === 0 ? 0 : ab / Math.sqrt(aa * bb);
}
