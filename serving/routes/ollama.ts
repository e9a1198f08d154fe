/** Ollama's API over the same chats and completions, with errors in its form. */

import type { Context } from 'hono';
import { Hono } from 'hono/tiny';
import { modelNotFound } from '../../openai/errors.ts';
import { bodyObject } from '../../openai/requests/fields.ts';
import { type OllamaLoad, ollamaModel, parseOllamaChat, parseOllamaGenerate } from '../../openai/requests/ollama.ts';
import { ollamaHead, ollamaName, ollamaText } from '../../openai/stream/ollama.ts';
import { version } from '../../package.json';
import type { Generation } from '../admission.ts';
import { readJson } from '../body.ts';
import { inForm } from '../forms.ts';
import type { App } from '../host.ts';
import { idempotencyKey, seeded } from '../idempotency.ts';
import { modelNamed } from '../models.ts';
import { generateOn } from '../replica.ts';
import { conversationBytes, maxBodyBytes } from '../room.ts';
import { models, withModel } from './models.ts';

/** What `GET /v1/models` says of a model. */
interface Listed {
  id: string;
  kind?: string;
  state?: string;
  created?: number; // s
  bytes?: number;
  parent?: string;
  digest?: string;
  family?: string;
  max_model_len?: number;
  sampling_defaults?: Record<string, number>;
}

export function ollama(): Hono<App> {
  const app = new Hono<App>();
  app.post('/chat', (c) => answer(c, parseOllamaChat));
  app.post('/generate', (c) => answer(c, parseOllamaGenerate));
  app.get('/version', (c) => c.json({ version }));
  app.get('/tags', (c) => listed(c, () => true));
  app.get('/ps', (c) => listed(c, (m) => m.state === 'loaded' && m.kind === 'chat', running));
  app.post('/show', async (c) => {
    const body = bodyObject(await readJson(c.req.raw, maxBodyBytes(c.env)));
    const name = modelNamed(c.env, ollamaModel(body.model ?? body.name));
    return models(c, (data) => {
      const model = (data as Listed[]).find((m) => m.id === name);
      if (!model) throw modelNotFound(name);
      return c.json(shown(model));
    });
  });
  return app;
}

async function answer(c: Context<App>, parse: (body: unknown) => Generation | OllamaLoad): Promise<Response> {
  const asked = parse(await readJson(c.req.raw, conversationBytes(c.env)));
  const request = await withModel(c, asked);
  if (request.kind === 'load') {
    const head = ollamaHead(request.model, Math.floor(c.env.clock.now() / 1000));
    return c.json({ ...head, ...ollamaText(request.wire, ''), done: true, done_reason: request.keepAliveMs === 0 ? 'unload' : 'load' });
  }
  return inForm(c.req.path, await generateOn(c, '/v1/chat/completions', seeded(request, c.get('tenant'), idempotencyKey(c.req.raw))));
}

const listed = (c: Context<App>, which: (m: Listed) => boolean, as: (m: Listed) => object = entry) =>
  models(c, (data) => c.json({ models: (data as Listed[]).filter(which).map(as) })).then((response) => inForm(c.req.path, response));

/** Of what a server does not know of a model that is not loaded there are zeros, as long as they have to be. */
const entry = (m: Listed) => ({
  ...{ name: ollamaName(m.id), model: ollamaName(m.id), modified_at: new Date((m.created ?? 0) * 1000).toISOString() },
  ...{ size: m.bytes ?? 0, digest: m.digest ?? '0'.repeat(64), details: details(m) },
});

const details = ({ family = '', parent }: Listed) => ({
  ...{ parent_model: parent ?? '', format: 'turnstone', family, families: family === '' ? null : [family] },
  ...{ parameter_size: '', quantization_level: '' },
});

/** A model in memory: for good, as far as is known here. */
const running = (m: Listed) => ({ ...entry(m), expires_at: '9999-12-31T00:00:00Z', size_vram: 0, context_length: m.max_model_len ?? 0 });

const shown = (m: Listed) => ({
  ...{ modelfile: '', template: '', modified_at: new Date((m.created ?? 0) * 1000).toISOString(), details: details(m) },
  parameters: Object.entries(m.sampling_defaults ?? {})
    .map(([name, value]) => `${name} ${value}`)
    .join('\n'),
  model_info: { 'general.architecture': m.family ?? '', [`${m.family ?? 'model'}.context_length`]: m.max_model_len ?? null },
  capabilities: m.kind === 'embedding' ? ['embedding'] : ['completion', 'tools'],
});
