/**
 * A KV page on the wire, the same between replica and session, replica and accelerator, and replica and browser:
 *
 *   u32 length of what follows the type, u8 type 3, u16 page version, 32 bytes name, 32 bytes SHA-256 of the bytes, the page's bytes
 *
 * Little endian. What is stored are the bytes alone, so that the wire may change without them. Pure; every number is bounded before
 * it is used.
 */

/** The type of a page's frame among the frames of docs/npu-protocol.md. */
export const PAGE_FRAME = 3;
/** No page of any model is larger. */
export const MAX_PAGE_BYTES = 16 << 20;
/** Length and type, as every frame has them. */
export const FRAME_HEAD = 5;
const FIELDS = 2 + 32 + 32;
/** Bytes before a page's own. */
export const PAGE_HEAD = FRAME_HEAD + FIELDS;
/** What a frame may hold after its type. */
export const MAX_FRAME = MAX_PAGE_BYTES + FIELDS;

export interface PageHead {
  readonly version: number;
  /** 64 hexadecimal digits. */
  readonly name: string;
  readonly sha256: Uint8Array;
}

export const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');

/** Throws when it is no page's name. */
export function unhex(name: string): Uint8Array {
  if (!/^[0-9a-f]{64}$/.test(name)) throw new Error(`page name "${name.slice(0, 80)}" is not 64 hex digits`);
  return Uint8Array.from({ length: 32 }, (_, i) => Number.parseInt(name.slice(i * 2, i * 2 + 2), 16));
}

/** Writes the head of a page of `bytes` bytes at the beginning of `out`. */
export function writePageHead(out: Uint8Array, { version, name, sha256 }: PageHead, bytes: number): void {
  const view = new DataView(out.buffer, out.byteOffset);
  view.setUint32(0, FIELDS + bytes, true);
  out[4] = PAGE_FRAME;
  view.setUint16(FRAME_HEAD, version, true);
  out.set(unhex(name), FRAME_HEAD + 2);
  out.set(sha256, FRAME_HEAD + 34);
}

/** The fields of a page, from behind its frame's type on. Throws when they are cut. */
export function fieldsOf(payload: Uint8Array): PageHead {
  if (payload.length < FIELDS) throw new Error(`pages: ${payload.length} bytes are no page`);
  return { version: payload[0]! | (payload[1]! << 8), name: hex(payload.subarray(2, 34)), sha256: payload.slice(34, FIELDS) };
}

/** Bytes of the page whose frame begins here. Throws when it is no page's frame, or larger than any page. */
export function pageBytesOf(head: Uint8Array): number {
  const bytes = new DataView(head.buffer, head.byteOffset).getUint32(0, true) - FIELDS;
  if (head[4] !== PAGE_FRAME) throw new Error(`pages: a frame of type ${head[4]}, must be ${PAGE_FRAME}`);
  if (bytes < 1 || bytes > MAX_PAGE_BYTES) throw new Error(`pages: a payload of ${bytes} bytes, must be 1..${MAX_PAGE_BYTES}`);
  return bytes;
}
