/** POST /v1/embeddings, /v1/rerank and /v1/score: checked here, computed by the embedder, a Worker of its own. */

import type { Context } from 'hono';
import { ApiError } from '../../openai/errors.ts';
import { parseEmbeddings } from '../../openai/requests/embeddings.ts';
import { parseRerank, parseScore } from '../../openai/requests/rerank.ts';
import { errand } from '../admission.ts';
import { readJson } from '../body.ts';
import { type App, STATE } from '../host.ts';
import { maxBodyBytes } from '../room.ts';

/** OpenAI's model object. */
interface ModelObject {
  id: string;
  state: 'loaded' | 'cold';
}

/** What the embedder is asked, under the same path there. */
export const ENCODING: Readonly<Record<string, (body: unknown) => object>> = {
  '/v1/embeddings': parseEmbeddings,
  '/v1/rerank': parseRerank,
  '/v1/score': parseScore,
};

export async function encode(c: Context<App>, path: string): Promise<Response> {
  const request = ENCODING[path](await readJson(c.req.raw, maxBodyBytes(c.env)));
  const { embedder } = c.env;
  if (!embedder) {
    throw new ApiError(501, 'Embeddings are off on this server: it has no embedder (the service binding EMBEDDER).', {
      type: 'invalid_request_error',
      code: 'embeddings_off',
    });
  }
  const body = JSON.stringify(request);
  return errand(c, 'embed', body.length, async () => {
    const answer = await embedder.fetch(`https://embedder${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
      signal: c.req.raw.signal,
    });
    return new Response(answer.body, answer); // the same stream, with headers that may be added to
  });
}

/** The embedder's model, or nothing: a list of models must not fail because one is not there. */
export async function embeddingModels(c: Context<App>): Promise<ModelObject[]> {
  try {
    const answer = await c.env.embedder?.fetch('https://embedder/model');
    if (!answer?.ok) return [];
    return [{ ...((await answer.json()) as { id: string }), state: answer.headers.has(STATE) ? 'cold' : 'loaded' }];
  } catch {
    return [];
  }
}
