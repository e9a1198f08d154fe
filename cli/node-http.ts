import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';

/** Node's HTTP in front of a fetch handler. A client that leaves aborts the request's signal and cancels the answer's body. */
export const nodeHandler =
  (answer: (request: Request) => Promise<Response>) =>
  (req: IncomingMessage, res: ServerResponse): void => {
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
