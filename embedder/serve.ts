/** A checked request in, OpenAI's answer out. Throws ApiError naming the input that is wrong. */
import { type EmbeddingsResponse, embeddingsResponse } from '../openai/embeddings.ts';
import { ApiError, badRequest, modelNotFound } from '../openai/errors.ts';
import type { EmbeddingsRequest } from '../openai/requests/embeddings.ts';
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
  const dimensions = request.dimensions ?? manifest.dim;
  if (!manifest.dimensions.includes(dimensions)) {
    throw badRequest(
      `Invalid 'dimensions': '${manifest.name}' has vectors of ${manifest.dimensions.join(', ')} numbers, not ${dimensions}.`,
      'dimensions',
    );
  }
  const rows = tokenRows(model, request.input);
  const tokens = rows.reduce((n, r) => n + r.length, 0);
  if (tokens > REQUEST_TOKENS) {
    throw badRequest(`Invalid 'input': ${tokens} tokens in all, at most ${REQUEST_TOKENS} a request.`, 'input', 'max_tokens_per_request');
  }
  const between = async () => {
    if (o.signal?.aborted) throw new ApiError(499, 'The client closed the request.', { code: 'client_closed_request' });
    await o.breathe?.();
  };
  return embeddingsResponse(manifest.name, await model.embed(rows, dimensions, between), request.encodingFormat, tokens);
}

function tokenRows({ manifest, tokenizer }: EmbeddingModel, input: EmbeddingsRequest['input']): number[][] {
  const path = (i: number) => (input.length === 1 ? 'input' : `input[${i}]`);
  return input.map((x, i) => {
    const ids = typeof x === 'string' ? tokenizer.encode(x) : x;
    if (ids.length === 0) throw badRequest(`Invalid '${path(i)}': the text has no tokens.`, path(i));
    if (ids.length > manifest.maxTokens) {
      throw badRequest(
        `This model's maximum context length is ${manifest.maxTokens} tokens, but '${path(i)}' has ${ids.length}. Split the text.`,
        path(i),
        'context_length_exceeded',
      );
    }
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
