/** One WebSocket of the Responses API. While nothing is generated its object sleeps, and the socket stays open. */
import { DurableObject } from 'cloudflare:workers';
import { createApp } from '../serving/app.ts';
import { type Kept, Talk } from '../serving/responses/talk.ts';
import type { Env } from './env.ts';
import { hostOf } from './host.ts';
import { TENANT } from './open-socket.ts';

const KEPT = 'kept';
/** Closed by the server: what came is no text. */
const UNSUPPORTED = 1003;

export class Socket extends DurableObject<Env> {
  #talk?: Promise<Talk>;

  /** The handshake, of whoever was let in already. */
  override async fetch(request: Request): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    server.serializeAttachment({ tenant: request.headers.get(TENANT) ?? 'public' });
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    if (typeof message !== 'string') return socket.close(UNSUPPORTED, 'messages are JSON as text');
    this.#talk ??= this.#begin(socket);
    await (await this.#talk).message(message);
  }

  override async webSocketClose(): Promise<void> {
    await this.#end();
  }

  override async webSocketError(): Promise<void> {
    await this.#end();
  }

  /** What responses that nobody stores have said is kept with the socket, so that they are gone on from after it slept, and goes with it. */
  async #begin(socket: WebSocket): Promise<Talk> {
    const { tenant } = socket.deserializeAttachment() as { tenant: string };
    const { storage } = this.ctx;
    return new Talk({
      app: (request) => createApp({ ...hostOf(this.env), tenant }).fetch(request, this.ctx),
      send: (event) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(event));
      },
      kept: (await storage.get<Kept[]>(KEPT)) ?? [],
      keep: (kept) => void storage.put(KEPT, kept),
    });
  }

  async #end(): Promise<void> {
    (await this.#talk)?.close();
    await this.ctx.storage.deleteAll();
  }
}
