import { request as httpRequest } from 'node:http';
import { Readable } from 'node:stream';

/** `fetch` over a Unix socket; of the URL the path counts. Rejects when nobody listens. */
export function fetchSocket(socketPath: string, url: string, init: RequestInit = {}): Promise<Response> {
  const { pathname, search, host } = new URL(url);
  const headers = Object.fromEntries(new Headers(init.headers));
  return new Promise((resolve, reject) => {
    const method = init.method ?? 'GET';
    const options = { socketPath, path: pathname + search, method, headers: { host, ...headers }, signal: init.signal ?? undefined };
    const request = httpRequest(options, (answer) => {
      const status = answer.statusCode ?? 502;
      const body = status === 204 || status === 304 || method === 'HEAD' ? null : (Readable.toWeb(answer) as ReadableStream<Uint8Array>);
      if (body === null) answer.resume();
      resolve(new Response(body as BodyInit | null, { status, headers: answer.headers as Record<string, string> }));
    });
    request.on('error', reject);
    if (init.body == null) return void request.end();
    new Response(init.body).arrayBuffer().then((bytes) => request.end(Buffer.from(bytes)), reject);
  });
}
