import { type IncomingMessage, request } from 'node:http';
import { Readable } from 'node:stream';
import type { Sent } from './cases.ts';

/** Requests with the headers as they are given, Host and length too, which `fetch` writes itself. */
export const overHttp =
  (url: string) =>
  (path: string, { method = 'GET', headers = {}, body, signal }: Sent = {}): Promise<Response> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(url);
      const answered = (res: IncomingMessage) => {
        const { statusCode: status = 0 } = res;
        const given = Object.entries(res.headers).flatMap(([k, v]) => (v === undefined ? [] : [[k, String(v)] as [string, string]]));
        const empty = [101, 204, 304].includes(status);
        resolve(new Response(empty ? null : (Readable.toWeb(res) as ReadableStream<Uint8Array<ArrayBuffer>>), { status, headers: given }));
      };
      const req = request({ hostname, port, path, method, headers, signal, agent: false }, answered).on('error', reject);
      req.end(body === undefined || typeof body === 'string' ? body : JSON.stringify(body));
    });
