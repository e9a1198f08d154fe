/** What browsers may do with the API's answers, and which pages may call it. The page's own headers are in `web/public/_headers`. */

import { cors } from 'hono/cors';
import { secureHeaders } from 'hono/secure-headers';

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
