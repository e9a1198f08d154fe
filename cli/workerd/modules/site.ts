/** Static assets as Cloudflare serves them, from folders on this machine: a list of files that was made at the start, so that no path leads elsewhere. */

import type { SiteFile } from './site-file.ts';

interface Env {
  /** By the path in the URL, decoded. */
  FILES: Record<string, SiteFile>;
  [disk: string]: Fetcher | unknown;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const file = find(new URL(request.url).pathname, env.FILES);
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

/** `/npu` is `npu.html`, a folder its `index.html`. */
function find(pathname: string, files: Record<string, SiteFile>): SiteFile | undefined {
  let path: string;
  try {
    path = decodeURIComponent(pathname);
  } catch {
    return undefined;
  }
  const own = (name: string) => (Object.hasOwn(files, name) ? files[name] : undefined);
  return own(path) ?? own(`${path}.html`) ?? own(`${path.replace(/\/$/, '')}/index.html`);
}
