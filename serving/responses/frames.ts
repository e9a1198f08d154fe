import { PAGE_VERSION } from '../../engine/layout.ts';
import { FRAME_HEAD, fieldsOf, PAGE_HEAD, pageBytesOf, writePageHead } from '../../pages/wire.ts';

/** Pages of a session on the wire, one after another (pages/wire.ts). A fetch body carries them, an RPC's 32 MiB would not. */
export interface Frame {
  /** Hex, 64 digits. */
  name: string;
  digest: Uint8Array;
  payload: Uint8Array;
}

export const frameBytes = (payload: number): number => PAGE_HEAD + payload;

/** What comes before a payload. */
export function frameHead(name: string, digest: Uint8Array, payloadBytes: number): Uint8Array {
  const head = new Uint8Array(PAGE_HEAD);
  writePageHead(head, { version: PAGE_VERSION, name, sha256: digest }, payloadBytes);
  return head;
}

/**
 * Gives back at once the memory of bytes of their own that nobody reads any more. V8 would at its next collection, and the pages of a
 * crowd come faster than that: they would count until then.
 */
export function free(bytes: Uint8Array): void {
  const buffer = bytes.buffer as ArrayBuffer & { transfer?(length: number): ArrayBuffer }; // not in ES2023
  if (bytes.byteLength === buffer.byteLength) buffer.transfer?.(0);
}

/** SHA-256 of a payload, as frames carry it. */
export const digestOf = async (payload: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', payload as Uint8Array<ArrayBuffer>));

/** One whole frame. The payload is copied: a view of wasm memory would drag all of it along. */
export async function frame(name: string, payload: Uint8Array): Promise<Uint8Array> {
  const out = new Uint8Array(frameBytes(payload.byteLength));
  out.set(payload, PAGE_HEAD);
  writePageHead(out, { version: PAGE_VERSION, name, sha256: await digestOf(out.subarray(PAGE_HEAD)) }, payload.byteLength);
  return out;
}

/** How many whole frames there are at the beginning of these bytes. */
export function countFrames(bytes: Uint8Array): number {
  let n = 0;
  for (let at = 0; bytes.byteLength - at >= PAGE_HEAD; n++) {
    at += PAGE_HEAD + pageBytesOf(bytes.subarray(at));
    if (at > bytes.byteLength) break;
  }
  return n;
}

/** Frames of bytes that are here already, as views of them, each checked against its digest. Throws as `readFrames`. */
export async function parseFrames(bytes: Uint8Array): Promise<Frame[]> {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    if (bytes.byteLength - at < PAGE_HEAD) throw new Error('pages: the bytes end inside a head');
    const end = at + PAGE_HEAD + pageBytesOf(bytes.subarray(at));
    if (end > bytes.byteLength) throw new Error('pages: the bytes end inside a page');
    frames.push(frameOf(bytes.subarray(at, end)));
    at = end;
  }
  const digests = await Promise.all(frames.map((f) => digestOf(f.payload)));
  frames.forEach((f, i) => {
    if (digests[i]!.some((b, k) => b !== f.digest[k])) throw new Error(`pages: page ${f.name} does not match its digest`);
  });
  return frames;
}

/** What a whole frame holds, or a head and the payload that was read after it. Throws when it is of another page version. */
function frameOf(bytes: Uint8Array, payload = bytes.subarray(PAGE_HEAD)): Frame {
  const { version, name, sha256: digest } = fieldsOf(bytes.subarray(FRAME_HEAD));
  if (version !== PAGE_VERSION) throw new Error(`pages: page ${name} has version ${version}, must be ${PAGE_VERSION}`);
  return { name, digest, payload };
}

/** Frames of a stream as they arrive, each checked against its digest. Throws on a cut, oversized or damaged one. */
export async function* readFrames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame> {
  const reader = body.getReader({ mode: 'byob' }) as ReadableStreamBYOBReader;
  try {
    for (;;) {
      const head = await readAtLeast(reader, PAGE_HEAD);
      if (head.byteLength === 0) return;
      if (head.byteLength < PAGE_HEAD) throw new Error('pages: the stream ends inside a head');
      const size = pageBytesOf(head);
      const payload = await readAtLeast(reader, size);
      const { name, digest } = frameOf(head, payload);
      if (payload.byteLength < size) throw new Error(`pages: the stream ends inside page ${name}`);
      const is = await digestOf(payload);
      if (is.some((b, i) => b !== digest[i])) throw new Error(`pages: page ${name} does not match its digest`);
      yield { name, digest, payload };
    }
  } finally {
    reader.releaseLock();
  }
}

/** So many bytes, or fewer at the stream's end. */
async function readAtLeast(reader: ReadableStreamBYOBReader, size: number): Promise<Uint8Array> {
  let buffer = new ArrayBuffer(size);
  let have = 0;
  while (have < size) {
    const { value, done } = await reader.read(new Uint8Array(buffer, have, size - have));
    if (value) {
      buffer = value.buffer as ArrayBuffer;
      have += value.byteLength;
    }
    if (done) break;
  }
  return new Uint8Array(buffer, 0, have);
}
