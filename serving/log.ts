import type { MiddlewareHandler } from 'hono';
import { isOn } from '../policy/settings.ts';
import { keyNamed } from './auth.ts';
import type { App, RequestLine } from './host.ts';

/**
 * With LOG_REQUESTS=1 a line of JSON a request, when its answer begins: who asked by the name of the key, what for, how it went and
 * how long that took (`ms`; the answer itself may stream on). Never what was said, nor a key. The host's figures get the same.
 */
export const logRequests: MiddlewareHandler<App> = async (c, next) => {
  const { clock, vars, figures } = c.env;
  const logs = isOn('LOG_REQUESTS', vars);
  if (!logs && !figures) return next();
  const started = clock.now();
  await next();
  const tenant = c.get('tenant');
  const line: RequestLine & Record<string, unknown> = {
    time: new Date(clock.now()).toISOString(),
    level: c.res.status >= 500 ? 'error' : 'info',
    message: 'request',
    request: c.get('requestId'),
    key: tenant === undefined ? undefined : await keyNamed(vars, tenant),
    method: c.req.method,
    route: routeOf(c.req.path),
    model: c.get('model'),
    status: c.res.status,
    ms: clock.now() - started,
    trace: c.get('span')?.trace.id,
  };
  if (logs) console.log(JSON.stringify(line));
  figures?.(line);
};

/** A path without the ids in it: those of responses give access to nothing by themselves, but a figure a route is what is looked for. */
export const routeOf = (path: string): string => path.slice(0, 128).replace(/\/(resp|conv|file|batch|file-batch)_[\w-]+/g, '/:id');
