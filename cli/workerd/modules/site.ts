/** Static assets as Cloudflare serves them, from folders on this machine: a list of files that was made at the start, so that no path leads elsewhere. */

import type { SiteFile } from './site-file.ts';

interface Env {
  /** By the path in the URL, decoded. */
  FILES: Record<string, SiteFile>;
  /** Folders whose files come and go, and the paths that they are below. */
  OPEN: { below: string; disk: string }[];
  [disk: string]: Fetcher | unknown;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { pathname } = new URL(request.url);
    const file = find(pathname, env.FILES) ?? (await findOpen(pathname, env));
    if (file instanceof Response) return file;
    if (!file) return new Response('Not found', { status: 404 });
    const headers = new Headers({ 'accept-ranges': 'bytes', 'cache-control': 'public, max-age=0, must-revalidate', ...file.headers });
    headers.set('etag', file.etag);
    if (request.headers.get('if-none-match')?.includes(file.etag)) return new Response(null, { status: 304, headers });
    if (request.method === 'HEAD') {
      headers.set('content-length', String(file.bytes));
      return new Response(null, { headers });
    }
    const range = request.headers.get('range');
    const disk = env[file.disk] as Fetcher;
    const found = await disk.fetch(
      `https://disk/${encodeURIComponent(file.name).replaceAll('%2F', '/')}`,
      range ? { headers: { range } } : {},
    );
    for (const name of ['content-range', 'content-length']) {
      const value = found.headers.get(name);
      if (value !== null) headers.set(name, value);
    }
    return new Response(found.body, { status: found.status, headers });
  },
} satisfies ExportedHandler<Env>;

/** A file that is there now; its name is one that an index or an adapter has. */
async function findOpen(pathname: string, env: Env): Promise<Response | undefined> {
  const path = decoded(pathname);
  const open = env.OPEN.find(({ below }) => path?.startsWith(below));
  const name = open && path?.slice(open.below.length);
  if (!open || !name || !/^[a-z0-9]+\.(json|lora)$/.test(name)) return undefined;
  const found = await (env[open.disk] as Fetcher).fetch(`https://disk/${name}`);
  return found.ok ? new Response(found.body, { headers: { 'cache-control': 'no-store' } }) : undefined;
}

/** `/npu` is `npu.html`, a folder its `index.html`. */
function find(pathname: string, files: Record<string, SiteFile>): SiteFile | undefined {
  const path = decoded(pathname);
  if (path === undefined) return undefined;
  const own = (name: string) => (Object.hasOwn(files, name) ? files[name] : undefined);
  return own(path) ?? own(`${path}.html`) ?? own(`${path.replace(/\/$/, '')}/index.html`);
}

function decoded(pathname: string): string | undefined {
  try {
    return decodeURIComponent(pathname);
  } catch {
    return undefined;
  }
}
