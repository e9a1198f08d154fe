/** A request's body: read up to a limit, whatever its headers claim, and parsed up to a depth. */

import { concat } from '../engine/bytes.ts';
import { ApiError, badRequest, clip, payloadTooLarge } from '../openai/errors.ts';

/** Deep enough for any schema or conversation; what later walks the value recursively stays far from the stack's end. */
const MAX_DEPTH = 100;

/** Encodings that a body may come in, besides none. */
const ENCODINGS: Readonly<Record<string, 'gzip' | 'deflate'>> = { gzip: 'gzip', 'x-gzip': 'gzip', deflate: 'deflate' };

/** A body is waited for so long: while nothing comes, and in all. */
const SILENT_MS = 15_000;
const WHOLE_MS = 300_000;

/** Throws 415, 408, 413 or 400. `limit` in bytes, of the body as it is sent and as it unpacks. */
export async function readJson(request: Request, limit: number): Promise<unknown> {
  // A page of another origin can send any other type without asking first (no CORS preflight).
  const type = request.headers.get('content-type')?.split(';')[0].trim().toLowerCase();
  if (type !== 'application/json') {
    throw new ApiError(415, "The request's content-type must be application/json.", { code: 'unsupported_media_type' });
  }
  return readAnyJson(request, limit);
}

/** The same without a look at the content-type: where no page of another origin can send anything. */
export async function readAnyJson(request: Request, limit: number): Promise<unknown> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });
  const depth = new Depth();
  const decode = (chunk?: Uint8Array): string => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch {
      throw notJson(', it is not UTF-8');
    }
  };
  let text = ''; // grows as the body comes: its bytes are not kept beside it
  await readBytes(request, limit, (chunk) => {
    depth.pass(chunk);
    text += decode(chunk);
  });
  text += decode();
  try {
    return JSON.parse(text);
  } catch (error) {
    throw notJson(`: ${(error as SyntaxError).message}`);
  }
}

const notJson = (why: string): ApiError => badRequest(`The request's body is not valid JSON${why}.`, undefined, 'invalid_json');

/** A body's bytes. Throws 408, 413 or 415. */
export async function readBody(request: Request, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  await readBytes(request, limit, (chunk) => void chunks.push(chunk));
  return concat(chunks);
}

/** Reads up to `limit` bytes, each chunk given to `take`, which may throw. */
async function readBytes(request: Request, limit: number, take: (chunk: Uint8Array) => void): Promise<void> {
  if (Number(request.headers.get('content-length') ?? 0) > limit) throw payloadTooLarge(limit); // no need to read it
  let size = 0;
  const { stream, encoding } = unpacked(request);
  const reader = stream?.getReader();
  const late = Date.now() + WHOLE_MS;
  while (reader) {
    const { done, value } = await within(Math.min(SILENT_MS, late - Date.now()), reader).catch((error: unknown) => {
      if (encoding === undefined || error instanceof ApiError) throw error;
      throw badRequest(`The request's body is not valid ${encoding}, or it is cut.`, undefined, 'invalid_encoding');
    });
    if (done) break;
    size += value.byteLength;
    try {
      if (size > limit) throw payloadTooLarge(limit);
      take(value);
    } catch (error) {
      await reader.cancel();
      throw error;
    }
  }
}

/** The body as it unpacks, piece by piece, so that a small one cannot fill the memory. Throws 415 for an encoding that is not read. */
function unpacked(request: Request): { stream: ReadableStream<Uint8Array> | null; encoding?: string } {
  const encoding = (request.headers.get('content-encoding') ?? '').trim().toLowerCase();
  if (encoding === '' || encoding === 'identity' || !request.body) return { stream: request.body };
  const format = Object.hasOwn(ENCODINGS, encoding) ? ENCODINGS[encoding] : undefined;
  if (format === undefined) {
    throw new ApiError(415, `Bodies of content-encoding '${clip(encoding)}' are not read here; send gzip, deflate or plain JSON.`, {
      code: 'unsupported_content_encoding',
      headers: { 'accept-encoding': 'gzip, deflate' },
    });
  }
  return { stream: request.body.pipeThrough(new DecompressionStream(format)), encoding };
}

/** The next piece; throws 408 when none comes in time. */
async function within(ms: number, reader: ReadableStreamDefaultReader<Uint8Array>): Promise<ReadableStreamReadResult<Uint8Array>> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    const why = "The request's body did not come in time.";
    timer = setTimeout(
      () => reject(new ApiError(408, why, { code: 'request_timeout', headers: { connection: 'close' } })),
      Math.max(0, ms),
    );
  });
  try {
    return await Promise.race([reader.read(), silence]);
  } catch (error) {
    void reader.cancel().catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Brackets outside strings, before any object is made of them. UTF-8's further bytes are never quotes or brackets. */
class Depth {
  #depth = 0;
  #string = false;
  #escaped = false;

  /** The next bytes. Throws 400. */
  pass(json: Uint8Array): void {
    let depth = this.#depth;
    let string = this.#string;
    let escaped = this.#escaped;
    for (const b of json) {
      if (string) {
        if (escaped) escaped = false;
        else if (b === 0x5c) escaped = true;
        else if (b === 0x22) string = false;
      } else if (b === 0x22) string = true;
      else if (b === 0x7b || b === 0x5b) {
        if (++depth > MAX_DEPTH) {
          throw badRequest(`The request's body is nested deeper than ${MAX_DEPTH} levels.`, undefined, 'json_too_deep');
        }
      } else if (b === 0x7d || b === 0x5d) depth--;
    }
    this.#depth = depth;
    this.#string = string;
    this.#escaped = escaped;
  }
}
