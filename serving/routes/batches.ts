/** The routes of files and batches. What keeps them is the host's (`Host.batches`). */

import type { Context } from 'hono';
import { Hono } from 'hono/tiny';
import { ApiError, badRequest } from '../../openai/errors.ts';
import { BATCH_LIMITS, parseBatch, parseFile } from '../../openai/requests/batches.ts';
import { type BatchKeeper, found } from '../batches.ts';
import { readBody, readJson } from '../body.ts';
import type { App } from '../host.ts';
import { maxBodyBytes } from '../room.ts';

type Ctx = Context<App>;

/** A form has its boundaries and fields beside the file. */
const FORM_BYTES = 64 << 10;

export function files(): Hono<App> {
  const app = new Hono<App>();
  app.post('/', async (c) => {
    const keeper = keeperOf(c);
    const form = await formOf(c.req.raw);
    const file = form.get('file') as File | string | null;
    const about = parseFile(Object.fromEntries(form.entries()), typeof file === 'string' ? undefined : file?.name);
    if (!file || typeof file === 'string') throw badRequest("Missing required parameter: 'file'.", 'file', 'missing_required_parameter');
    if (file.size > BATCH_LIMITS.fileBytes) throw badRequest(`A file may have ${BATCH_LIMITS.fileBytes} bytes.`, 'file', 'file_too_large');
    return c.json(found(await keeper.addFile(about, new Uint8Array(await file.arrayBuffer())), 'File', ''));
  });
  app.get('/', async (c) => {
    const purpose = c.req.query('purpose');
    return page(
      c,
      (await keeperOf(c).files()).filter((f) => purpose === undefined || f.purpose === purpose),
    );
  });
  app.get('/:id', async (c) => c.json(found(await keeperOf(c).file(c.req.param('id')), 'File', c.req.param('id')).file));
  app.delete('/:id', async (c) => {
    const id = c.req.param('id');
    found(await keeperOf(c).removeFile(id), 'File', id);
    return c.json({ id, object: 'file', deleted: true });
  });
  app.get('/:id/content', async (c) => {
    const { bytes } = found(await keeperOf(c).file(c.req.param('id'), true), 'File', c.req.param('id'));
    return new Response(bytes as Uint8Array<ArrayBuffer>, { headers: { 'content-type': 'application/octet-stream' } });
  });
  return app;
}

export function batches(): Hono<App> {
  const app = new Hono<App>();
  app.post('/', async (c) => {
    const asked = parseBatch(await readJson(c.req.raw, maxBodyBytes(c.env)));
    const begun = await keeperOf(c).begin(c.get('tenant'), asked);
    return c.json(found(begun, !begun.ok && begun.why === 'not_found' ? 'File' : 'Batch', asked.inputFile));
  });
  app.get('/', async (c) => page(c, await keeperOf(c).batches()));
  app.get('/:id', async (c) => c.json(found(await keeperOf(c).batch(c.req.param('id')), 'Batch', c.req.param('id'))));
  app.post('/:id/cancel', async (c) => c.json(found(await keeperOf(c).cancel(c.req.param('id')), 'Batch', c.req.param('id'))));
  return app;
}

function keeperOf(c: Ctx): BatchKeeper {
  if (!c.env.batches) throw new ApiError(501, 'This server keeps no files and runs no batches.', { code: 'batches_off' });
  return c.env.batches(c.get('tenant'));
}

/** Newest first; `limit`, `after` and `order` as the query asks. */
function page(c: Ctx, all: readonly { id: string }[]): Response {
  const limit = Number(c.req.query('limit') ?? 100);
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) throw badRequest("'limit' must be an integer in 1..10000.", 'limit');
  const items = c.req.query('order') === 'asc' ? [...all].reverse() : all;
  const after = c.req.query('after');
  const from = after === undefined ? 0 : items.findIndex((item) => item.id === after) + 1;
  const data = items.slice(from, from + limit);
  const ends = { first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
  return c.json({ object: 'list', data, ...ends, has_more: from + limit < items.length });
}

async function formOf(request: Request): Promise<FormData> {
  const type = request.headers.get('content-type') ?? '';
  if (!/^multipart\/form-data\s*;/i.test(type)) {
    throw new ApiError(415, "The request's content-type must be multipart/form-data.", { code: 'unsupported_media_type' });
  }
  const bytes = await readBody(request, BATCH_LIMITS.fileBytes + FORM_BYTES);
  try {
    return await new Response(bytes, { headers: { 'content-type': type } }).formData();
  } catch {
    throw badRequest("The request's body is not a valid form.", undefined, 'invalid_form');
  }
}
