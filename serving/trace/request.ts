/** The span of a request in the routes: from its receipt to the end of its answer's body. */
import type { Context, MiddlewareHandler } from 'hono';
import type { App } from '../host.ts';
import { routeOf } from '../log.ts';
import { openTrace, type Span } from './trace.ts';

export const traceRequests: MiddlewareHandler<App> = async (c, next) => {
  const { clock, vars } = c.env;
  const route = routeOf(c.req.path);
  const trace = openTrace(vars, 'routes', c.req.header('traceparent'), route.startsWith('/v1/'));
  if (!trace) return next();
  const { method } = c.req;
  const span = trace.span(`${method} ${route}`, 'server', clock.now());
  c.set('span', span);
  await next();
  const { status } = c.res;
  span.set({
    'http.request.method': method,
    'http.route': route,
    'http.response.status_code': status,
    'gen_ai.request.model': c.get('model'),
    'turnstone.request': c.get('requestId'),
  });
  c.header('traceparent', span.traceparent);
  const over = (why?: string) => {
    span.end(clock.now(), why ?? (status >= 500 ? `HTTP ${status}` : undefined));
    return trace.send();
  };
  c.executionCtx.waitUntil(
    ended(c).then(
      () => over(),
      () => over('the client closed the request'),
    ),
  );
};

/** Settles when the answer's body has ended, rejects when its client is gone. Only of requests that are traced do bytes pass through here. */
function ended(c: Context<App>): Promise<void> {
  const { body } = c.res;
  if (!body) return Promise.resolve();
  return new Promise((resolve, reject) => {
    c.req.raw.signal.addEventListener('abort', () => reject(new Error('aborted')));
    c.res = new Response(body.pipeThrough(new TransformStream({ flush: () => resolve() })), c.res);
  });
}

/** A part of a request's span around `work`; what it throws is its fault. */
export async function within<T>(c: Context<App>, name: string, work: (span: Span | undefined) => Promise<T>): Promise<T> {
  const span = c.get('span')?.child(name, 'client', c.env.clock.now());
  try {
    const result = await work(span);
    span?.end(c.env.clock.now());
    return result;
  } catch (error) {
    span?.end(c.env.clock.now(), error instanceof Error ? error.name : 'failed');
    throw error;
  }
}
