/** Scores of pairs of texts, in the forms of Jina, Cohere and vLLM. */
import type { RerankRequest } from './requests/rerank.ts';

/** `cosine`: each text was made a vector by itself. `cross-encoder`: the model read both at once. */
export type ScoredBy = 'cosine' | 'cross-encoder';

interface Scores {
  id: string;
  model: string;
  /** A score a pair, higher for what belongs together. */
  scores: readonly number[];
  tokens: number;
  scoredBy: ScoredBy;
}

/** The best first; those that score the same in the order in which they came. */
export function rerankResponse({ id, model, scores, tokens, scoredBy }: Scores, request: RerankRequest) {
  const { documents, topN, returnDocuments } = request;
  const results = scores
    .map((relevance_score, index) => ({ index, relevance_score, ...(returnDocuments && { document: { text: documents[index] } }) }))
    .sort((a, b) => b.relevance_score - a.relevance_score || a.index - b.index)
    .slice(0, topN);
  return { id, model, results, usage: { prompt_tokens: tokens, total_tokens: tokens }, turnstone: { scored_by: scoredBy } };
}

export function scoreResponse({ id, model, scores, tokens, scoredBy }: Scores) {
  return {
    ...{ id, object: 'list', created: Math.floor(Date.now() / 1000), model },
    data: scores.map((score, index) => ({ index, object: 'score', score })),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
    turnstone: { scored_by: scoredBy },
  };
}
