/** The embedder's Worker: ONNX Runtime and one sentence encoder, behind a service binding (embedder/wrangler.toml). */

import { ModelFileError } from '../models/error.ts';
import { deployedPack, type PackBindings, type PackSource } from '../models/pack/source.ts';
import ortModule from '../node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm';
import { ApiError, asApiError, notFound, serverOverloaded } from '../openai/errors.ts';
import type { EmbeddingsRequest } from '../openai/requests/embeddings.ts';
import type { RerankRequest, ScoreRequest } from '../openai/requests/rerank.ts';
import { readNumber, type Variables } from '../policy/settings.ts';
import { describeEmbedder } from './manifest.ts';
import { type EmbeddingModel, loadManifest, openEmbedding } from './model.ts';
import { createRuntime, type Runtime } from './runtime/ort.ts';
import { serveRerank, serveScore } from './score.ts';
import { type ServeOptions, serveEmbeddings } from './serve.ts';

export interface EmbedderEnv extends Variables {
  /** Packs: `<EMBED_MODEL_ID>/model.json` and its files; without the bucket, or when it lacks the model, the assets are asked. */
  PACKS?: R2Bucket;
  ASSETS?: Fetcher;
  EMBED_MODEL_ID: string;
}

/** Requests that wait or run; one more is refused. */
const MAX_PENDING = 64;

/** One runtime and one model an isolate. */
let runtime: Runtime | undefined;
let opening: Promise<EmbeddingModel> | undefined;
let pending = 0;

export default {
  async fetch(request: Request, env: EmbedderEnv): Promise<Response> {
    try {
      if (env.EMBED_SECRET && request.headers.get('x-embed-secret') !== env.EMBED_SECRET) throw notFound('There is nothing here.');
      const { pathname } = new URL(request.url);
      if (POSTS.has(pathname) && request.method === 'POST') return await answer(request, env);
      if (pathname === '/model') return Response.json(describeEmbedder(await loadManifest(await pack(env)))); // ONNX Runtime is not started for it
      if (pathname === '/ready') return Response.json(await ready(env));
      throw notFound(`There is nothing at ${request.method} ${pathname.slice(0, 128)}.`);
    } catch (error) {
      return errorResponse(error);
    }
  },
};

const POSTS = new Set(['/v1/embeddings', '/v1/rerank', '/v1/score']);

/** Checked by the Worker that calls (openai/requests). */
type Asked = EmbeddingsRequest | RerankRequest | ScoreRequest;

function serve(model: EmbeddingModel, body: Asked, o: ServeOptions): Promise<object> {
  switch (body.kind) {
    case 'embeddings':
      return serveEmbeddings(model, body, o);
    case 'rerank':
      return serveRerank(model, body, o);
    case 'score':
      return serveScore(model, body, o);
  }
}

async function answer(request: Request, env: EmbedderEnv): Promise<Response> {
  if (pending >= MAX_PENDING) throw serverOverloaded('The embedder is overloaded.');
  pending++;
  try {
    const body = (await request.json()) as Asked;
    const breathe = () => new Promise<void>((resolve) => setTimeout(resolve, 0));
    return Response.json(await serve(await model(env), body, { signal: request.signal, breathe }));
  } finally {
    pending--;
  }
}

async function ready(env: EmbedderEnv) {
  const { manifest, plan } = await model(env);
  return { status: 'ok', model: manifest.name, memory: { ...plan, measured: runtime?.memoryBytes() } };
}

function model(env: EmbedderEnv): Promise<EmbeddingModel> {
  opening ??= open(env).catch((error: unknown) => {
    // a file that is wrong stays wrong until it is put anew; anything else may pass
    opening = undefined;
    throw error;
  });
  return opening;
}

async function open(env: EmbedderEnv): Promise<EmbeddingModel> {
  runtime ??= createRuntime(ortModule);
  return openEmbedding(await pack(env), runtime, readNumber('EMBED_MEMORY_MB', env));
}

const pack = (env: EmbedderEnv): Promise<PackSource> => deployedPack(env as PackBindings, env.EMBED_MODEL_ID);

/** A model that cannot be served says why; the operator reads the same text with `turnstone pack`. */
function errorResponse(error: unknown): Response {
  const known = error instanceof ModelFileError;
  const shown = known
    ? new ApiError(503, `Embeddings cannot be served: ${error.message}`, { code: 'model_not_loaded', cause: error })
    : asApiError(error);
  if (shown.status >= 500) console.error('embeddings failed:', error);
  return Response.json(shown.envelope(), { status: shown.status, headers: shown.headers });
}
