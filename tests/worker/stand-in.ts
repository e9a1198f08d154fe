/** The app in workerd beside a replica that knows no model: it tells what reached it, and what became of its streams. */

import { DurableObject } from 'cloudflare:workers';
import { createApp } from '../../worker/app.ts';

const app = createApp();

export default { fetch: app.fetch };

export class Replica extends DurableObject {
  #sent = 0;
  #cancelled = 0;
  #aborted = 0;

  override async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === '/metrics') return Response.json({ sent: this.#sent, cancelled: this.#cancelled, aborted: this.#aborted });
    const body = await request.json<{ kind: string; model: string; stream: boolean }>();
    request.signal.addEventListener('abort', () => this.#aborted++);
    if (!body.stream && body.model === 'slow') {
      this.#sent++;
      await scheduler.wait(5000);
    }
    if (!body.stream) return Response.json(body);
    const frame = new TextEncoder().encode('data: {"x":1}\n\n');
    const stream = new ReadableStream({
      pull: async (controller) => {
        await scheduler.wait(5);
        this.#sent++;
        controller.enqueue(frame);
      },
      cancel: () => {
        this.#cancelled++;
      },
    });
    return new Response(stream, { headers: { 'content-type': 'text/event-stream' } });
  }
}
