import { ModelFileError } from '../error.ts';
import { MANIFEST } from './manifest.ts';

/** Where a pack's files come from. */
export interface PackSource {
  /** A file's bytes, or the range [offset, offset + length) of them. Rejects with ModelFileError when there is no such file. */
  open(name: string, offset?: number, length?: number): Promise<ReadableStream<Uint8Array>>;
}

const missing = (name: string, detail: string) => new ModelFileError(`file "${name}"`, detail);

/** Files in memory. */
export function memoryPack(files: ReadonlyMap<string, Uint8Array>): PackSource {
  return {
    async open(name, offset = 0, length) {
      const bytes = files.get(name);
      if (!bytes) throw missing(name, 'is not in the pack');
      return streamOf(bytes.subarray(offset, length === undefined ? undefined : offset + length));
    },
  };
}

const PIECE = 1 << 20;

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(at, at + PIECE));
      at += PIECE;
    },
  });
}

/** Anything that answers like `fetch`: the global one, or the assets binding's. */
export type Fetch = (url: string, init?: { headers?: Record<string, string> }) => Promise<Response>;

/** Files under a URL: a web server, or Workers static assets (`url` is then any origin with the pack's path). */
export function urlPack(url: string, fetcher: Fetch = fetch, headers: Record<string, string> = {}): PackSource {
  const base = url.endsWith('/') ? url : `${url}/`;
  return {
    async open(name, offset = 0, length) {
      const ranged = offset > 0 || length !== undefined;
      const range = `bytes=${offset}-${length === undefined ? '' : offset + length - 1}`;
      const response = await fetcher(base + name, { headers: ranged ? { ...headers, range } : headers });
      if (!response.ok || !response.body) throw missing(name, `${base}${name} answered ${response.status}`);
      if (ranged && response.status !== 206) return cut(response.body, offset, length);
      return response.body;
    },
  };
}

/** A range out of a whole body, for servers that ignore Range. */
function cut(body: ReadableStream<Uint8Array>, offset: number, length = Number.POSITIVE_INFINITY): ReadableStream<Uint8Array> {
  let at = 0;
  return body.pipeThrough(
    new TransformStream({
      transform(chunk: Uint8Array, controller) {
        const part = chunk.subarray(Math.max(0, offset - at), Math.max(0, Math.min(chunk.length, offset + length - at)));
        at += chunk.length;
        if (part.length > 0) controller.enqueue(part);
        if (at >= offset + length) controller.terminate();
      },
    }),
  );
}

/** The part of R2Bucket that is used. */
export interface R2Like {
  get(key: string, options?: { range?: { offset?: number; length?: number } }): Promise<{ body: ReadableStream<Uint8Array> } | null>;
}

/** Objects of an R2 bucket under a prefix. */
export function r2Pack(bucket: R2Like, prefix = ''): PackSource {
  return {
    async open(name, offset = 0, length) {
      const ranged = offset > 0 || length !== undefined;
      const object = await bucket.get(prefix + name, ranged ? { range: { offset, ...(length !== undefined && { length }) } } : {});
      if (!object) throw missing(name, `is not in the bucket as ${prefix}${name}`);
      return object.body;
    },
  };
}

/** Where a deployed Worker keeps packs: the part of its bindings that is used. */
export interface PackBindings {
  /** Packs under `<model>/`. */
  readonly PACKS?: R2Like & { head(key: string): Promise<unknown> };
  /** Static assets with packs under `/packs/<model>/`. */
  readonly ASSETS?: { fetch(url: string, init?: { method?: string; headers?: Record<string, string> }): Promise<Response> };
}

/** Where this deployment keeps the model's pack: the R2 bucket if it is there, else the static assets. Rejects naming both. */
export async function deployedPack({ PACKS, ASSETS }: PackBindings, id: string): Promise<PackSource> {
  if (PACKS && (await PACKS.head(`${id}/${MANIFEST}`))) return r2Pack(PACKS, `${id}/`);
  const url = `https://assets.local/packs/${encodeURIComponent(id)}/`;
  if (ASSETS && (await ASSETS.fetch(url + MANIFEST, { method: 'HEAD' })).ok) return urlPack(url, (u, init) => ASSETS.fetch(u, init));
  throw new ModelFileError(`model "${id}"`, `is neither in the R2 bucket (${id}/${MANIFEST}) nor in the assets (/packs/${id}/${MANIFEST})`);
}

const READ = 1 << 20;

/**
 * The bytes of a stream, in pieces of up to 1 MiB. Reads with a buffer of its own (BYOB) where the stream can: in Workers a default
 * reader gets 4 KiB at a time. A piece is valid until the next one is asked for.
 */
export async function* chunks(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const byob = byobReader(stream);
  if (!byob) {
    const reader = stream.getReader();
    try {
      for (let r = await reader.read(); !r.done; r = await reader.read()) yield r.value;
    } finally {
      await reader.cancel().catch(() => {});
    }
    return;
  }
  try {
    let buffer = new Uint8Array(READ);
    for (;;) {
      // Workers: waits until the buffer is full, saving crossings; elsewhere `min` is not known and ignored.
      const r = await byob.read(buffer, { min: READ } as ReadableStreamBYOBReaderReadOptions);
      if (r.value && r.value.length > 0) yield r.value;
      if (r.done || !r.value) return;
      buffer = new Uint8Array(r.value.buffer);
    }
  } finally {
    await byob.cancel().catch(() => {});
  }
}

function byobReader(stream: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | undefined {
  try {
    return stream.getReader({ mode: 'byob' });
  } catch {
    return undefined; // no byte stream
  }
}

/** A small file as a whole. Throws ModelFileError when it is longer than `max`. */
export async function readWhole(source: PackSource, name: string, max: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const c of chunks(await source.open(name))) {
    size += c.length;
    if (size > max) throw new ModelFileError(`file "${name}"`, `is longer than ${max} bytes`, max);
    parts.push(c.slice());
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}
