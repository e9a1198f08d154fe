/** Which model a request is for, and the list of them. */

import type { Context } from 'hono';
import type { App } from '../host.ts';
import { loadModel, type ModelEntry, modelNamed, otherModels } from '../models.ts';
import { callReplica } from '../replica.ts';
import { embeddingModels } from './embeddings.ts';

/** The request under its model's own name, '' where only the replica knows it. The model is loaded when this resolves. Throws 404 and 503. */
export async function withModel<R extends { model?: string; keepAliveMs?: number }>(
  c: Context<App>,
  request: R,
): Promise<R & { model: string }> {
  const model = modelNamed(c.env, request.model ?? '');
  await loadModel(c.env, model, { keepAliveMs: request.keepAliveMs });
  if (model !== '') c.set('model', model);
  return { ...request, model };
}

/** What the replicas and the embedder serve, and what may be loaded; the first replica's refusal as it is. */
export async function models(c: Context<App>, respond: (data: { id: string }[]) => Response): Promise<Response> {
  const [list, others, more] = await Promise.all([callReplica(c, '/v1/models'), otherModels(c.env), embeddingModels(c)]);
  if (!list.ok) return list;
  const { data } = (await list.json()) as { data: ModelEntry[] };
  const known = new Map(others.map((m) => [m.id, m]));
  const first = data.map((m) => ({ ...m, ...known.get(m.id), kind: 'chat', state: m.parent === undefined ? 'loaded' : m.state }));
  const rest = others.filter((m) => !data.some((d) => d.id === m.id));
  return respond([...first, ...rest, ...more.map((m) => ({ ...m, kind: 'embedding' }))]);
}
