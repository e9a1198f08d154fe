/** Packs' files from R2, with ranges and ETags. */

import { ApiError } from '../openai/errors.ts';

const TYPES: Record<string, string> = { json: 'application/json', txt: 'text/plain; charset=utf-8', md: 'text/markdown; charset=utf-8' };

/** `key`: the path below `/packs/`, decoded. Null: the bucket has none of that name. */
export async function packFile(bucket: R2Bucket, key: string, request: Request): Promise<Response | null> {
  const range = parseRange(request.headers.get('range'));
  const object =
    request.method === 'HEAD'
      ? await bucket.head(key)
      : await bucket.get(key, { range, onlyIf: request.headers }).catch(async (error: unknown) => {
          const size = range && (await bucket.head(key))?.size;
          if (size === undefined || rangeFits(range, size)) throw error;
          throw new ApiError(416, `The range lies outside the file's ${size} bytes.`, {
            code: 'range_not_satisfiable',
            headers: { 'content-range': `bytes */${size}` },
          });
        });
  if (!object) return null;
  const headers = new Headers({
    etag: object.httpEtag,
    'accept-ranges': 'bytes',
    'cache-control': 'no-cache', // to be asked again, answered 304: a pack may be replaced under its name
    'content-type': TYPES[key.slice(key.lastIndexOf('.') + 1)] ?? 'application/octet-stream',
  });
  if (request.method === 'HEAD') {
    headers.set('content-length', String(object.size));
    return new Response(null, { headers });
  }
  if (!('body' in object)) {
    // A condition did not hold: If-None-Match is a client with a fresh copy, If-Match one with a stale expectation.
    return new Response(null, {
      status: request.headers.has('if-match') || request.headers.has('if-unmodified-since') ? 412 : 304,
      headers,
    });
  }
  const body = object as R2ObjectBody;
  if (!range) return new Response(body.body, { headers });
  const offset = 'suffix' in range ? Math.max(0, object.size - range.suffix) : range.offset;
  const length = 'suffix' in range ? object.size - offset : Math.min(range.length ?? Infinity, object.size - offset);
  headers.set('content-range', `bytes ${offset}-${offset + length - 1}/${object.size}`);
  return new Response(body.body, { status: 206, headers });
}

type Range = { offset: number; length?: number } | { suffix: number };

/** One range of bytes; anything else is answered with the whole file, as RFC 9110 allows. */
function parseRange(header: string | null): Range | undefined {
  const match = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  if (match[1] === '') return { suffix: Number(match[2]) };
  const offset = Number(match[1]);
  if (match[2] === '') return { offset };
  const last = Number(match[2]);
  return last < offset ? undefined : { offset, length: last - offset + 1 };
}

const rangeFits = (range: Range | undefined, size: number): boolean =>
  range === undefined || ('suffix' in range ? range.suffix > 0 : range.offset < size);
