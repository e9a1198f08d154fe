/** The app with real sessions and a real scheduler, beside a replica that says what its instructions say, a word a token. */

import { DurableObject } from 'cloudflare:workers';
import type { NewBatch } from '../../openai/requests/batches.ts';
import type { ChatRequest, ResponsesRequest, TokenizeRequest } from '../../openai/requests/types.ts';
import { createAnswer } from '../../openai/stream/create.ts';
import { outputOf } from '../../openai/stream/response-events.ts';
import { createApp } from '../../serving/app.ts';
import type { RunLine, RunOrder } from '../../serving/responses/types.ts';
import { Batches as RealBatches } from '../../worker/batches.ts';
import type { Env } from '../../worker/env.ts';
import { hostOf } from '../../worker/host.ts';
import { Socket as RealSocket } from '../../worker/socket.ts';

export { Scheduler } from '../../durable-objects/scheduler/index.ts';
export { Session } from '../../durable-objects/session/index.ts';
export { Tenant } from '../../durable-objects/tenant/index.ts';

export default { fetch: (request, env, context) => createApp(hostOf(env)).fetch(request, context) } satisfies ExportedHandler<Env>;

/** A test may say that a batch's time is over, wake the object, and look what it keeps and when it wakes by itself. */
export class Batches extends RealBatches {
  async wake(): Promise<void> {
    await this.alarm();
  }

  async kept(): Promise<{ rows: number[]; alarm: number | null }> {
    const { sql } = this.ctx.storage;
    const begun = sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'batches'").toArray().length > 0;
    const count = (table: string) => sql.exec<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).one().n;
    return { rows: begun ? ['files', 'chunks', 'batches', 'lines'].map(count) : [], alarm: await this.ctx.storage.getAlarm() };
  }

  /** As many files of zeros, batches of one file: what the last was answered. */
  async fill(times: number, life: number, size: number): Promise<unknown> {
    let last: unknown;
    for (let i = 0; i < times; i++) last = await this.addFile({ filename: 'x', purpose: 'batch', life }, new Uint8Array(size));
    return last;
  }

  /** As if all files together had so many bytes. */
  async swell(bytes: number): Promise<void> {
    const { sql } = this.ctx.storage;
    sql.exec('UPDATE files SET bytes = bytes + ? - (SELECT sum(bytes) FROM files) WHERE id = (SELECT min(id) FROM files)', bytes);
  }

  async beginAll(times: number, batch: NewBatch): Promise<unknown> {
    let last: unknown;
    for (let i = 0; i < times; i++) last = await this.begin('t', batch);
    return last;
  }

  /** As if all had been made so long ago, s. */
  async age(s: number): Promise<void> {
    const { sql } = this.ctx.storage;
    sql.exec('UPDATE files SET expires = expires - ?', s);
    sql.exec("UPDATE batches SET data = json_set(data, '$.created_at', json_extract(data, '$.created_at') - ?)", s);
  }

  async endTime(id: string): Promise<void> {
    const now = Math.floor(Date.now() / 1000);
    this.ctx.storage.sql.exec("UPDATE batches SET data = json_set(data, '$.expires_at', ?) WHERE id = ?", now, id);
  }
}

/** A test may ask an object which one it is: after it slept it is another. */
export class Socket extends RealSocket {
  readonly #self = crypto.randomUUID();

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    if (message === 'who') return socket.send(JSON.stringify({ type: 'who', self: this.#self }));
    return super.webSocketMessage(socket, message);
  }
}

const encoder = new TextEncoder();

export class Replica extends DurableObject {
  readonly #attempts = new Map<string, number>();

  override async fetch(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === '/session/run') return this.#run(await request.json<RunOrder>());
    if (new URL(request.url).pathname === '/forget') return Response.json({});
    const given = await request.json<ResponsesRequest | ChatRequest | TokenizeRequest>();
    if (given.kind === 'tokenize' || given.kind === 'template')
      return Response.json({ count: (given as TokenizeRequest).messages?.length, tokens: [] });
    const body = given as ResponsesRequest | ChatRequest;
    const answer = createAnswer(body, { id: request.headers.get('x-turnstone-request') ?? 'direct', model: body.model, created: 1 });
    const text = `${body.messages.length} messages`;
    return new Response(
      answer.open() + answer.push(0, text) + answer.finish(0, 'stop') + answer.close({ prompt: 1, completion: 1, cached: 0 }),
      {
        headers: { 'content-type': answer.contentType },
      },
    );
  }

  /** `die` as a word: the stream breaks there, the first time. `{n}`: how many items came before. */
  #run(order: RunOrder): Response {
    const attempt = (this.#attempts.get(order.response) ?? 0) + 1;
    this.#attempts.set(order.response, attempt);
    const { instructions = '' } = order.request;
    const words = instructions.replace('{n}', String(order.history.length)).split(/(?<= )/);
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    writer.closed.catch(() => {});
    const send = (line: RunLine) => writer.write(encoder.encode(`${JSON.stringify(line)}\n`));
    const run = async () => {
      await send({ type: 'start', prompt: [1, 2, 3], cachedTokens: order.history.length ? 16 : 0, fingerprint: 'fp' });
      for (let i = order.generated.length; i < words.length; i++) {
        if (words[i].startsWith('die') && attempt === 1) return writer.abort(new Error('killed'));
        await send({ type: 'tokens', from: i, ids: [i], text: [words[i]] });
        await scheduler.wait(10);
      }
      const meta = { id: order.response, model: order.model, created: 0, echo: {} };
      const output = outputOf(meta, words.join(''), order.request, 'completed');
      await send({ type: 'end', finish: 'stop', tail: '', output: output });
      return writer.close();
    };
    this.ctx.waitUntil(run().catch(() => {}));
    return new Response(readable);
  }
}
