/** The app over real objects in workerd, with a replica that a request tells what to say (stand-in-session.ts). */
import { Miniflare } from 'miniflare';

/** Durable Objects by binding, beside those that every test needs: SQLite behind each. */
export async function sessionServer(
  contents: string,
  persist: string,
  o: { objects: Record<string, string>; vars: Record<string, string> },
): Promise<{ server: Miniflare; url: string }> {
  const sql = (className: string) => ({ className, useSQLite: true });
  const server = new Miniflare({
    modules: [{ type: 'ESModule', path: 'stand-in.js', contents }],
    compatibilityDate: '2026-04-01',
    compatibilityFlags: ['enable_request_signal'],
    durableObjects: {
      ...{ REPLICA: 'Replica', SESSION: sql('Session'), SCHEDULER: sql('Scheduler') },
      ...Object.fromEntries(Object.entries(o.objects).map(([binding, className]) => [binding, sql(className)])),
    },
    durableObjectsPersist: persist,
    bindings: o.vars,
    cf: false,
  });
  return { server, url: (await server.ready).href };
}
