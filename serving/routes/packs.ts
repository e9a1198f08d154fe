/** `/packs/*`: a model's files for browsers and other servers, with ranges and ETags. */

import type { Context } from 'hono';
import { notFound } from '../../openai/errors.ts';
import type { App } from '../host.ts';

/** `path`: below `/packs/`, decoded. */
export async function servePack(c: Context<App>, path: string): Promise<Response> {
  if (path.length > 1024) throw notFound('There is no such pack file.');
  const file = await c.env.packFile?.(path, c.req.raw);
  if (file) return file;
  const asset = await c.env.assets?.fetch(c.req.raw);
  if (!asset || asset.status === 404) throw notFound('There is no such pack file.');
  return new Response(asset.body, asset);
}
