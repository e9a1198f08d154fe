import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';

const LOOPBACK = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i;

/**
 * Why a web page may have sent this to a server that is meant for its own machine: by a name that was made to point here (DNS
 * rebinding), or as a form, which needs no leave. Null when it did not.
 */
export function fromAPage({
  method,
  headers,
}: Pick<IncomingMessage, 'method' | 'headers'>): { status: number; code: string; message: string } | null {
  if (!LOOPBACK.test(headers.host ?? '')) {
    return { status: 403, code: 'host_not_allowed', message: 'This server answers on localhost only.' };
  }
  const type = headers['content-type']?.split(';')[0].trim().toLowerCase();
  const body = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  if (method === 'POST' && body && type !== 'application/json' && type !== 'application/octet-stream') {
    return { status: 415, code: 'unsupported_media_type', message: "The request's content-type must be application/json." };
  }
  return null;
}

/** Node's HTTP in front of a fetch handler. A client that leaves aborts the request's signal and cancels the answer's body. `local`: it asks for no key, and answers to this machine's names only. */
export const nodeHandler =
  (answer: (request: Request) => Promise<Response>, { local = false } = {}) =>
  (req: IncomingMessage, res: ServerResponse): void => {
    const refused = local ? fromAPage(req) : null;
    if (refused) {
      const { status, code, message } = refused;
      res.writeHead(status, { 'content-type': 'application/json' });
      res.end(JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code } }));
      return;
    }
    const leave = new AbortController();
    res.on('close', () => leave.abort());
    answer(requestOf(req, leave.signal))
      .then((response) => {
        if (res.closed) return response.body?.cancel();
        res.writeHead(response.status, Object.fromEntries(response.headers));
        if (!response.body) return void res.end();
        const body = Readable.fromWeb(response.body as never).on('error', () => res.destroy());
        res.on('close', () => body.destroy());
        body.pipe(res);
      })
      .catch((error: unknown) => {
        res.writeHead(500, { 'content-type': 'application/json' });
        res.end(JSON.stringify({ error: { message: error instanceof Error ? error.message : String(error), type: 'server_error' } }));
      });
  };

function requestOf(req: IncomingMessage, signal: AbortSignal): Request {
  const body = req.method === 'GET' || req.method === 'HEAD' ? undefined : (Readable.toWeb(req) as ReadableStream<Uint8Array<ArrayBuffer>>);
  const init: RequestInit & { duplex: 'half' } = {
    method: req.method,
    headers: req.headers as Record<string, string>,
    body,
    signal,
    duplex: 'half',
  };
  return new Request(`http://localhost${req.url}`, init);
}
