/**
 * Pages on the wire: one after another, each 32 bytes of name, 32 bytes of the payload's SHA-256, u32 length (little
 * endian), payload. A fetch body carries them, an RPC's 32 MiB would not.
 */
export interface Frame {
  /** Hex, 64 digits. */
  name: string;
  digest: Uint8Array;
  payload: Uint8Array;
}

export const FRAME_HEAD = 68;
/** No page of any model is larger. */
export const MAX_PAGE_BYTES = 16 << 20;

const hex = (bytes: Uint8Array) => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');

export function unhex(name: string): Uint8Array {
  if (!/^[0-9a-f]{64}$/.test(name)) throw new Error(`page name "${name.slice(0, 80)}" is not 64 hex digits`);
  return Uint8Array.from({ length: 32 }, (_, i) => Number.parseInt(name.slice(i * 2, i * 2 + 2), 16));
}

export const frameBytes = (payload: number): number => FRAME_HEAD + payload;

/** The 68 bytes before a payload. */
export function frameHead(name: string, digest: Uint8Array, payloadBytes: number): Uint8Array {
  const head = new Uint8Array(FRAME_HEAD);
  head.set(unhex(name));
  head.set(digest, 32);
  new DataView(head.buffer).setUint32(64, payloadBytes, true);
  return head;
}

/** SHA-256 of a payload, as frames carry it. */
export const digestOf = async (payload: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', payload as Uint8Array<ArrayBuffer>));

/** One whole frame. The payload is copied: a view of wasm memory would drag all of it along. */
export async function frame(name: string, payload: Uint8Array): Promise<Uint8Array> {
  const out = new Uint8Array(frameBytes(payload.byteLength));
  out.set(payload, FRAME_HEAD);
  out.set(frameHead(name, await digestOf(out.subarray(FRAME_HEAD)), payload.byteLength));
  return out;
}

/** Frames of bytes that are here already, as views of them, each checked against its digest. Throws as `readFrames`. */
export async function parseFrames(bytes: Uint8Array): Promise<Frame[]> {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    if (bytes.byteLength - at < FRAME_HEAD) throw new Error('pages: the bytes end inside a head');
    const size = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(64, true);
    const end = at + FRAME_HEAD + size;
    if (size === 0 || size > MAX_PAGE_BYTES || end > bytes.byteLength) throw new Error(`pages: a payload of ${size} bytes does not fit`);
    const name = hex(bytes.subarray(at, at + 32));
    frames.push({ name, digest: bytes.subarray(at + 32, at + 64), payload: bytes.subarray(at + FRAME_HEAD, end) });
    at = end;
  }
  const digests = await Promise.all(frames.map((f) => digestOf(f.payload)));
  frames.forEach((f, i) => {
    if (digests[i]!.some((b, k) => b !== f.digest[k])) throw new Error(`pages: page ${f.name} does not match its digest`);
  });
  return frames;
}

/** Frames of a stream as they arrive, each checked against its digest. Throws on a cut, oversized or damaged one. */
export async function* readFrames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame> {
  const reader = body.getReader({ mode: 'byob' }) as ReadableStreamBYOBReader;
  try {
    for (;;) {
      const head = await readAtLeast(reader, FRAME_HEAD);
      if (head.byteLength === 0) return;
      if (head.byteLength < FRAME_HEAD) throw new Error('pages: the stream ends inside a head');
      const size = new DataView(head.buffer, head.byteOffset).getUint32(64, true);
      if (size === 0 || size > MAX_PAGE_BYTES) throw new Error(`pages: a payload of ${size} bytes, must be 1..${MAX_PAGE_BYTES}`);
      const name = hex(head.subarray(0, 32));
      const digest = head.slice(32, 64);
      const payload = await readAtLeast(reader, size);
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
