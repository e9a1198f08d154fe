/** What browsers may do with the API's answers, and which pages may call it. The page's own headers are in `web/public/_headers`. */

import type { Context, MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import { secureHeaders } from 'hono/secure-headers';
import { ApiError, clip } from '../openai/errors.ts';
import { isOn } from '../policy/settings.ts';
import type { App } from './host.ts';

/** Answers are data: nothing in them runs or is framed. Assets keep the headers that they come with. */
export const answersAreData = secureHeaders({
  overwrite: false,
  contentSecurityPolicy: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  crossOriginResourcePolicy: false, // CORS says it
  xXssProtection: false,
});

/** What CORS_ORIGINS names. */
export const originsOf = (value: string | undefined): string[] =>
  (value ?? '')
    .split(',')
    .map((o) => o.trim())
    .filter((o) => o !== '');

export const allows = (origins: readonly string[], origin: string): boolean => origins.includes('*') || origins.includes(origin);

export const apiCors = (origins: string[]) =>
  cors({
    origin: origins.includes('*') ? '*' : origins,
    allowMethods: ['GET', 'POST', 'DELETE', 'OPTIONS'],
    allowHeaders: [], // those that were asked for: SDKs send a dozen of their own, and none of them opens anything
    exposeHeaders: ['x-request-id', 'x-turnstone-route', 'x-turnstone-not-enforced', 'retry-after', 'content-range', 'etag'],
    maxAge: 3600,
  });

/** A preflight that no CORS_ORIGINS allows: the browser shows nothing of it, who asks with curl reads why. */
export const noCors = (origin: string): ApiError =>
  new ApiError(403, `Pages of ${clip(origin)} may not call this server: set CORS_ORIGINS to their origins, comma-separated, or to *.`, {
    type: 'permission_error',
    code: 'origin_not_allowed',
  });

/** A page may open a WebSocket to any server, and browsers ask nobody: it is let in where CORS would let it read. Throws 403. */
export function sameOrigin(c: Context<App>): void {
  const origin = c.req.header('origin');
  if (origin === undefined || origin === new URL(c.req.url).origin || allows(originsOf(c.env.vars.CORS_ORIGINS), origin)) return;
  throw noCors(origin);
}

const LOOPBACK = /^(localhost|127\.0\.0\.1|\[::1\])$/;

/**
 * A server without keys on one's own machine answers to that machine's names only: a page elsewhere whose name was made to
 * point here (DNS rebinding) sends its own name as Host. Turned on by LOCAL_ONLY=1, which the launcher sets.
 */
export const loopbackOnly: MiddlewareHandler<App> = async (c, next) => {
  if (isOn('LOCAL_ONLY', c.env.vars) && !LOOPBACK.test(new URL(c.req.url).hostname)) {
    throw new ApiError(403, 'This server has no API keys and answers on localhost only; set API_KEYS (or PUBLIC=1) to use another name.', {
      type: 'permission_error',
      code: 'host_not_allowed',
    });
  }
  await next();
};
