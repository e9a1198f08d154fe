/** What browsers may do with the API's answers, and which pages may call it. The page's own headers are in `web/public/_headers`. */

import type { MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import { secureHeaders } from 'hono/secure-headers';
import { ApiError } from '../openai/errors.ts';
import type { App } from './env.ts';

/** Answers are data: nothing in them runs or is framed. Assets keep the headers that they come with. */
export const answersAreData = secureHeaders({
  overwrite: false,
  contentSecurityPolicy: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  crossOriginResourcePolicy: false, // CORS says it
  xXssProtection: false,
});

/** `origins` as in CORS_ORIGINS. */
export const apiCors = (origins: string) => {
  const list = origins.split(',').map((o) => o.trim());
  return cors({
    origin: list.includes('*') ? '*' : list.filter((o) => o !== ''),
    allowMethods: ['GET', 'POST', 'DELETE', 'OPTIONS'],
    allowHeaders: ['authorization', 'content-type', 'last-event-id', 'x-client-request-id'],
    exposeHeaders: ['x-request-id', 'retry-after', 'content-range', 'etag'],
    maxAge: 3600,
  });
};

const LOOPBACK = /^(localhost|127\.0\.0\.1|\[::1\])$/;

/**
 * A server without keys on one's own machine answers to that machine's names only: a page elsewhere whose name was made to
 * point here (DNS rebinding) sends its own name as Host. Turned on by LOCAL_ONLY=1, which the launcher sets.
 */
export const loopbackOnly: MiddlewareHandler<App> = async (c, next) => {
  if (c.env.LOCAL_ONLY === '1' && !LOOPBACK.test(new URL(c.req.url).hostname)) {
    throw new ApiError(403, 'This server has no API keys and answers on localhost only; set API_KEYS (or PUBLIC=1) to use another name.', {
      type: 'permission_error',
      code: 'host_not_allowed',
    });
  }
  await next();
};
