import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { asApiError, badRequest } from '../openai/errors.ts';

/** Node's HTTP in front of a fetch handler. A client that leaves aborts the request's signal and cancels the answer's body. */
export const nodeHandler =
  (answer: (request: Request) => Promise<Response>) =>
  (req: IncomingMessage, res: ServerResponse): void => {
    const leave = new AbortController();
    res.on('close', () => leave.abort());
    Promise.resolve()
      .then(() => answer(requestOf(req, leave.signal)))
      .then((response) => {
        if (res.closed) return response.body?.cancel();
        res.writeHead(response.status, Object.fromEntries(response.headers));
        if (!response.body) return void res.end();
        const body = Readable.fromWeb(response.body as never).on('error', () => res.destroy());
        res.on('close', () => body.destroy());
        body.pipe(res);
      })
      .catch((error: unknown) => {
        const shown = asApiError(error);
        if (shown.status === 500) console.error(error);
        res.writeHead(shown.status, { 'content-type': 'application/json' });
        res.end(JSON.stringify(shown.envelope()));
      });
  };

/** Under the name that the client gave the server. Throws 400 when that is none. */
function requestOf(req: IncomingMessage, signal: AbortSignal): Request {
  const body = req.method === 'GET' || req.method === 'HEAD' ? undefined : (Readable.toWeb(req) as ReadableStream<Uint8Array<ArrayBuffer>>);
  const init: RequestInit & { duplex: 'half' } = {
    method: req.method,
    headers: req.headers as Record<string, string>,
    body,
    signal,
    duplex: 'half',
  };
  const url = `http://${req.headers.host ?? 'nobody.invalid'}${req.url}`;
  if (!URL.canParse(url)) throw badRequest('The request names no host that there can be.');
  return new Request(url, init);
}
