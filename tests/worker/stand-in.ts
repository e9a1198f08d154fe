/** The app in workerd beside a replica that knows no model: it tells what reached it, and what became of its streams. */

import { DurableObject } from 'cloudflare:workers';
import { createApp } from '../../serving/app.ts';
import type { Env } from '../../worker/env.ts';
import { hostOf } from '../../worker/host.ts';

export default { fetch: (request, env, context) => createApp(hostOf(env)).fetch(request, context) } satisfies ExportedHandler<Env>;

export class Replica extends DurableObject {
  /** By the requests' model: each test looks at its own. */
  readonly #seen = new Map<string, { sent: number; cancelled: number; aborted: number }>();

  override async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === '/metrics') return Response.json(Object.fromEntries(this.#seen));
    const body = await request.json<{ kind: string; model: string; stream: boolean }>();
    const seen = this.#seen.get(body.model) ?? { sent: 0, cancelled: 0, aborted: 0 };
    this.#seen.set(body.model, seen);
    request.signal.addEventListener('abort', () => seen.aborted++);
    if (!body.stream && body.model === 'slow') {
      seen.sent++;
      await scheduler.wait(5000);
    }
    if (!body.stream && body.model === 'breaks') {
      const broken = new ReadableStream({
        start: (controller) => controller.enqueue(new TextEncoder().encode(' ')),
        pull: async (controller) => {
          await scheduler.wait(50);
          controller.error(new Error('it broke'));
        },
      });
      return new Response(broken, { headers: { 'content-type': 'application/json' } });
    }
    if (!body.stream) return Response.json(body);
    const frame = new TextEncoder().encode('data: {"x":1}\n\n');
    const stream = new ReadableStream({
      pull: async (controller) => {
        await scheduler.wait(5);
        seen.sent++;
        controller.enqueue(frame);
      },
      cancel: () => {
        seen.cancelled++;
      },
    });
    return new Response(stream, { headers: { 'content-type': 'text/event-stream' } });
  }
}
