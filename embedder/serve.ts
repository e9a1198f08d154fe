/** A checked request in, OpenAI's answer out. Throws ApiError naming the input that is wrong. */
import { type EmbeddingsResponse, embeddingsResponse } from '../openai/embeddings.ts';
import { ApiError, badRequest, modelNotFound } from '../openai/errors.ts';
import type { EmbeddingsRequest } from '../openai/requests/embeddings.ts';
import { isScorer } from './manifest.ts';
import type { EmbeddingModel } from './model.ts';

/** Tokens a request may have in all: what an isolate computes within its CPU time, with room. */
export const REQUEST_TOKENS = 300_000;

export interface ServeOptions {
  signal?: AbortSignal;
  /** Awaited between batches, so that others get in. */
  breathe?: () => Promise<void>;
}

export async function serveEmbeddings(
  model: EmbeddingModel,
  request: EmbeddingsRequest,
  o: ServeOptions = {},
): Promise<EmbeddingsResponse> {
  const { manifest } = model;
  if (request.model !== undefined && request.model !== manifest.name) throw modelNotFound(request.model, manifest.name);
  if (isScorer(manifest)) {
    throw badRequest(
      `'${manifest.name}' is a cross-encoder: it scores pairs of texts (POST /v1/rerank, POST /v1/score) and makes no vectors.`,
      'model',
      'model_has_no_embeddings',
    );
  }
  const dimensions = request.dimensions ?? manifest.dim;
  if (!manifest.dimensions.includes(dimensions)) {
    throw badRequest(
      `Invalid 'dimensions': '${manifest.name}' has vectors of ${manifest.dimensions.join(', ')} numbers, not ${dimensions}.`,
      'dimensions',
    );
  }
  const rows = tokenRows(model, request.input);
  const tokens = checkTotal(rows, 'input');
  return embeddingsResponse(manifest.name, await model.embed(rows, dimensions, betweenBatches(o)), request.encodingFormat, tokens);
}

/** How many tokens rows have in all; throws when an isolate would not get through them. */
export function checkTotal(rows: readonly (readonly number[])[], path: string): number {
  const tokens = rows.reduce((n, r) => n + r.length, 0);
  if (tokens <= REQUEST_TOKENS) return tokens;
  throw badRequest(`Invalid '${path}': ${tokens} tokens in all, at most ${REQUEST_TOKENS} a request.`, path, 'max_tokens_per_request');
}

export function checkLength({ manifest }: EmbeddingModel, tokens: number, path: string): void {
  if (tokens <= manifest.maxTokens) return;
  throw badRequest(
    `This model's maximum context length is ${manifest.maxTokens} tokens, but '${path}' has ${tokens}. Split the text.`,
    path,
    'context_length_exceeded',
  );
}

export const betweenBatches = (o: ServeOptions) => async (): Promise<void> => {
  if (o.signal?.aborted) throw new ApiError(499, 'The client closed the request.', { code: 'client_closed_request' });
  await o.breathe?.();
};

function tokenRows(model: EmbeddingModel, input: EmbeddingsRequest['input']): number[][] {
  const { manifest, tokenizer } = model;
  const path = (i: number) => (input.length === 1 ? 'input' : `input[${i}]`);
  return input.map((x, i) => {
    const ids = typeof x === 'string' ? tokenizer.encode(x) : x;
    if (ids.length === 0) throw badRequest(`Invalid '${path(i)}': the text has no tokens.`, path(i));
    checkLength(model, ids.length, path(i));
    const wrong = typeof x === 'string' ? -1 : ids.findIndex((id) => id > tokenizer.largestId);
    if (wrong >= 0) {
      throw badRequest(
        `Invalid '${path(i)}[${wrong}]': ${ids[wrong]} is no token of '${manifest.name}', the largest is ${tokenizer.largestId}.`,
        path(i),
      );
    }
    return ids;
  });
}
