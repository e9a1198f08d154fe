/** A real HTTP server in front of the accelerator's service that does to its answers what networks and broken services do. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  decodeHead,
  encodeFail,
  encodeFrame,
  encodeHead,
  encodeIds,
  FRAME,
  FrameReader,
  type PrefillHead,
} from '../../accelerator/protocol.ts';
import { fetchSocket } from '../../cli/workerd/fetch.ts';

export interface Exchange {
  /** The request as the replica sent it: its authorization, and its frames. */
  readonly authorization: string;
  readonly body: Buffer;
  readonly head: PrefillHead;
  readonly response: ServerResponse;
  /** The service's own answer to the request, or to another one. Bytes are whole. */
  real(change?: { authorization?: string; body?: Buffer }): Promise<{ status: number; headers: Record<string, string>; bytes: Buffer }>;
}

export type Fault = (x: Exchange) => Promise<void> | void;

const send = (x: Exchange, bytes: Uint8Array, status = 200): void => {
  x.response.writeHead(status, { 'content-type': 'application/octet-stream' }).end(bytes);
};
const good = async (x: Exchange): Promise<Buffer> => {
  const { status, bytes } = await x.real();
  if (status !== 200) throw new Error(`the service itself answered ${status}: ${bytes.toString().slice(0, 200)}`);
  return bytes;
};
const frames = (bytes: Buffer): Uint8Array[] => new FrameReader().push(bytes).map((f) => encodeFrame(f.type, f.payload));
const HEADER = 5 + 2 + 32 + 32; // of a page's frame: its bytes follow

/** Passes everything through, or the service's refusals. */
export const healthy: Fault = async (x) => {
  const { status, headers, bytes } = await x.real();
  x.response.writeHead(status, headers).end(bytes);
};

/** Each with what /metrics calls it, and whether it counts as a refusal. */
export const faults: readonly { name: string; fault: string; refused?: boolean; act: Fault }[] = [
  // node:http sends no answer, the connection is reset: as a process that is gone
  { name: 'down: connections are reset', fault: 'unreachable', act: (x) => void x.response.socket?.destroy() },
  { name: 'hangs before the first byte', fault: 'timeout', act: () => {} },
  {
    name: 'stalls after two pages',
    fault: 'timeout',
    act: async (x) => {
      const [a, b] = frames(await good(x));
      x.response.writeHead(200).write(Buffer.concat([a, b]));
    },
  },
  {
    name: 'is slow: a few bytes at a time',
    fault: 'timeout',
    act: async (x) => {
      const bytes = await good(x);
      x.response.writeHead(200);
      let at = 0;
      const timer = setInterval(() => x.response.write(bytes.subarray(at, (at += 64))), 20);
      x.response.on('close', () => clearInterval(timer));
    },
  },
  {
    name: 'dies half-way',
    fault: 'cut',
    act: async (x) => {
      const bytes = await good(x);
      x.response.writeHead(200, { 'content-length': bytes.length });
      x.response.write(bytes.subarray(0, bytes.length >> 1), () => setTimeout(() => x.response.socket?.destroy(), 50));
    },
  },
  { name: 'ends inside a frame', fault: 'cut', act: async (x) => send(x, (await good(x)).subarray(0, -200)) },
  { name: 'ends without its last frame', fault: 'cut', act: async (x) => send(x, Buffer.concat(frames(await good(x)).slice(0, -1))) },
  { name: 'answers garbage', fault: 'protocol', act: (x) => send(x, Buffer.alloc(20_000, 0xa7)) },
  {
    name: 'says a frame has 4 GB',
    fault: 'protocol',
    act: (x) => send(x, Buffer.from([255, 255, 255, 255, FRAME.page])),
  },
  {
    name: 'sends a page whose bytes do not have its hash',
    fault: 'page',
    act: async (x) => {
      const list = frames(await good(x));
      list[2][HEADER + 100] ^= 1;
      send(x, Buffer.concat(list));
    },
  },
  {
    name: 'sends pages in another order',
    fault: 'page',
    act: async (x) => {
      const [a, b, ...rest] = frames(await good(x));
      send(x, Buffer.concat([b, a, ...rest]));
    },
  },
  {
    name: 'sends a page of another layout version',
    fault: 'page',
    act: async (x) => {
      const list = frames(await good(x));
      list[1][5] ^= 0xff;
      send(x, Buffer.concat(list));
    },
  },
  {
    name: 'serves another model',
    fault: 'status',
    act: async (x) => {
      const rest = frames(x.body).slice(1);
      const { status, headers, bytes } = await x.real({ body: Buffer.concat([encodeHead({ ...x.head, pack: 'f'.repeat(64) }), ...rest]) });
      x.response.writeHead(status, headers).end(bytes);
    },
  },
  {
    name: 'does not know the secret',
    fault: 'status',
    act: async (x) => {
      const { status, headers, bytes } = await x.real({ authorization: 'Bearer not the secret of this service' });
      x.response.writeHead(status, headers).end(bytes);
    },
  },
  { name: 'fails: 500 and a page of HTML', fault: 'status', act: (x) => send(x, Buffer.from('<h1>Oops</h1>'), 500) },
  {
    name: 'is busy: 429',
    fault: 'status',
    refused: true,
    act: (x) =>
      void x.response.writeHead(429, { 'retry-after': '1' }).end('{"error":{"message":"8 prompts are waiting already","retryMs":900}}'),
  },
  {
    name: 'breaks off and says so',
    fault: 'failed',
    act: async (x) => send(x, Buffer.concat([...frames(await good(x)).slice(0, 3), encodeFail('the device caught fire')])),
  },
];

export interface FaultyNpu {
  readonly address: string;
  /** Prefills that came. */
  readonly asked: number;
  /** What it does with the next ones. */
  act: Fault;
  /** Computes a prompt on the service in advance, so that what follows does not depend on its speed. */
  warm(ids: readonly number[]): Promise<void>;
  /** Asks the service for a prompt, and leaves at its first bytes. */
  leave(ids: readonly number[]): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it in front of the service at `upstream`. */
export async function startFaulty(upstream: { address: string; secret: string }): Promise<FaultyNpu> {
  let asked = 0;
  let last: { authorization: string; head: PrefillHead } | undefined;
  const ask = async (authorization: string, body: Buffer) => {
    const r = await fetchSocket(upstream.address.slice('unix:'.length), 'http://npu/v1/prefill', {
      method: 'POST',
      headers: { authorization },
      body: new Uint8Array(body),
    });
    const keep = ['content-type', 'retry-after'].flatMap((name): [string, string][] => {
      const value = r.headers.get(name);
      return value === null ? [] : [[name, value]];
    });
    return { status: r.status, headers: Object.fromEntries(keep), bytes: Buffer.from(await r.arrayBuffer()) };
  };
  const faulty: FaultyNpu = {
    address: '',
    act: healthy,
    get asked() {
      return asked;
    },
    warm: async (ids: readonly number[]) => {
      if (!last) throw new Error('warm: no request has come yet to say how pages are named');
      const head = encodeHead({ ...last.head, have: 0, deadlineMs: 120_000 });
      const { status } = await ask(last.authorization, Buffer.concat([head, encodeIds(ids)]));
      if (status !== 200) throw new Error(`warm: the service answered ${status}`);
    },
    leave: async (ids: readonly number[]) => {
      if (!last) throw new Error('leave: no request has come yet to say how pages are named');
      const head = encodeHead({ ...last.head, have: 0, deadlineMs: 120_000 });
      const init = { method: 'POST', headers: { authorization: last.authorization }, body: Buffer.concat([head, encodeIds(ids)]) };
      const leave = new AbortController();
      const r = await fetchSocket(upstream.address.slice('unix:'.length), 'http://npu/v1/prefill', { ...init, signal: leave.signal });
      await r.body!.getReader().read();
      leave.abort();
    },
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer(async (request: IncomingMessage, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    const authorization = request.headers.authorization ?? '';
    asked++;
    const head = decodeHead(new FrameReader().push(body)[0]);
    last = { authorization, head };
    const real: Exchange['real'] = (change = {}) => ask(change.authorization ?? authorization, change.body ?? body);
    try {
      await faulty.act({ authorization, body, head, response, real });
    } catch (error) {
      console.error(error);
      response.destroy();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  (faulty as { address: string }).address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return faulty;
}
