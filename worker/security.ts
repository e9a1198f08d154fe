/** Headers that keep the page to itself, and who else may call the API. */

import { cors } from 'hono/cors';
import { secureHeaders } from 'hono/secure-headers';

/**
 * The page runs its own scripts only, with WebAssembly; models run in workers started from blobs; packs may come from anywhere over
 * TLS. Styles may be inline because rendered markdown and Preact set them.
 */
export const pageSecurity = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'self'"],
    scriptSrc: ["'self'", "'wasm-unsafe-eval'"],
    workerSrc: ["'self'", 'blob:'],
    connectSrc: ["'self'", 'https:'],
    styleSrc: ["'self'", "'unsafe-inline'"],
    imgSrc: ["'self'", 'data:', 'blob:'],
    fontSrc: ["'self'", 'data:'],
    objectSrc: ["'none'"],
    baseUri: ["'none'"],
    formAction: ["'self'"],
    frameAncestors: ["'none'"],
  },
  crossOriginResourcePolicy: false, // set by what CORS allows
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
