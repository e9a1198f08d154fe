/**
 * The launcher's way to the Durable Objects, on a socket of its own: `/<binding>/<name or id>/fetch/<path>` or `/<binding>/<name or id>/call/<method>`,
 * one call after the other where `x-times` says several, as a bench does that wants to know what one takes.
 */

interface Env {
  SECRET: string;
  [binding: string]: DurableObjectNamespace | string;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    if (request.headers.get('x-launcher') !== env.SECRET) return new Response('Not found', { status: 404 });
    const [, binding, object, how, ...rest] = new URL(request.url).pathname.split('/').map(decodeURIComponent);
    const namespace = env[binding] as DurableObjectNamespace;
    const stub = namespace.get(/^[0-9a-f]{64}$/.test(object) ? namespace.idFromString(object) : namespace.idFromName(object));
    if (how === 'fetch') return stub.fetch(`https://object/${rest.join('/')}${new URL(request.url).search}`, request);
    const call = (stub as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[rest[0]];
    try {
      const args = (await request.json()) as unknown[];
      for (let more = Number(request.headers.get('x-times') ?? 1) - 1; more > 0; more--) await call(...args);
      return Response.json({ value: (await call(...args)) ?? null });
    } catch (error) {
      return Response.json({ error: error instanceof Error ? error.message : String(error) }, { status: 500 });
    }
  },
} satisfies ExportedHandler<Env>;
