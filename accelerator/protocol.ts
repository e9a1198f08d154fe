/**
 * The wire between a replica and the accelerator service (docs/npu-protocol.md): frames of
 *
 *   u32 length of the payload, u8 type, payload        little endian
 *
 *   1 HEAD   JSON, the request's head                  first of a request
 *   2 IDS    u32 token ids from position 0
 *   3 PAGE   a page (pages/wire.ts)
 *   4 DONE   JSON, timing                              last of an answer
 *   5 FAIL   JSON, what went wrong                     last of an answer that broke off
 *
 * Pure: bytes in, bytes out. Every number is bounded before it is used.
 */

import type { KvFormat } from '../engine/backend.ts';
import { concat } from '../engine/bytes.ts';
import { FRAME_HEAD, fieldsOf, MAX_FRAME, PAGE_FRAME, PAGE_HEAD, type PageHead, writePageHead } from '../pages/wire.ts';

export const FRAME = { head: 1, ids: 2, page: PAGE_FRAME, done: 4, fail: 5 } as const;
export const MAX_IDS = 1 << 17;

/** The head of a prefill request. The three names of arithmetic must be the service's own. */
export interface PrefillHead {
  readonly pack: string; // digest, hex
  readonly kv: KvFormat;
  readonly numerics: string;
  /** Tenant salt: pages are shared only inside it. */
  readonly salt: string;
  /** Leading whole pages that the caller holds: they are not computed or sent, but the service must have them. */
  readonly have: number;
  /** ms the caller waits, from arrival. */
  readonly deadlineMs: number;
}

/** What a prefill took. `deviceMs` is the simulated device's clock, the others are this host's: never add them up. */
export interface PrefillTiming {
  readonly deviceMs: number;
  readonly hostMs: number;
  readonly queueMs: number;
  readonly tokens: number;
  readonly pages: number;
  /** Of the pages sent, how many the service held already. */
  readonly cached: number;
}

export interface PageFrame extends PageHead {
  readonly bytes: Uint8Array;
}

export interface Frame {
  readonly type: number;
  readonly payload: Uint8Array;
}

/** Bytes that do not follow the protocol. */
export class ProtocolError extends Error {
  override name = 'ProtocolError';
}

export function encodeFrame(type: number, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(FRAME_HEAD + payload.length);
  new DataView(out.buffer).setUint32(0, payload.length, true);
  out[4] = type;
  out.set(payload, FRAME_HEAD);
  return out;
}

const json = (type: number, value: unknown): Uint8Array => encodeFrame(type, new TextEncoder().encode(JSON.stringify(value)));
export const encodeHead = (head: PrefillHead): Uint8Array => json(FRAME.head, head);
export const encodeDone = (timing: PrefillTiming): Uint8Array => json(FRAME.done, timing);
export const encodeFail = (message: string): Uint8Array => json(FRAME.fail, { message });

export function encodeIds(ids: readonly number[]): Uint8Array {
  const payload = new Uint8Array(ids.length * 4);
  const view = new DataView(payload.buffer);
  ids.forEach((id, i) => {
    view.setUint32(i * 4, id, true);
  });
  return encodeFrame(FRAME.ids, payload);
}

export function encodePage(page: PageFrame): Uint8Array {
  const out = new Uint8Array(PAGE_HEAD + page.bytes.length);
  writePageHead(out, page, page.bytes.length);
  out.set(page.bytes, PAGE_HEAD);
  return out;
}

/** Takes bytes as they arrive and gives whole frames. Throws ProtocolError on a frame that cannot be. */
export class FrameReader {
  private held: Uint8Array = new Uint8Array(0);

  push(chunk: Uint8Array): Frame[] {
    let bytes = this.held.length > 0 ? concat([this.held, chunk]) : chunk;
    const frames: Frame[] = [];
    while (bytes.length >= 5) {
      const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
      if (length > MAX_FRAME) throw new ProtocolError(`a frame of ${length} bytes, at most ${MAX_FRAME} are allowed`);
      if (bytes[4] < FRAME.head || bytes[4] > FRAME.fail) throw new ProtocolError(`a frame of type ${bytes[4]}`);
      if (bytes.length < 5 + length) break;
      frames.push({ type: bytes[4], payload: bytes.slice(5, 5 + length) });
      bytes = bytes.subarray(5 + length);
    }
    this.held = bytes.slice();
    return frames;
  }

  /** Throws when bytes of a broken-off frame are left. */
  end(): void {
    if (this.held.length > 0) throw new ProtocolError(`the stream ends inside a frame, ${this.held.length} bytes of it are here`);
  }
}

function parse(f: Frame): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(f.payload));
  } catch {
    throw new ProtocolError(`frame ${f.type} is not JSON`);
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new ProtocolError(`frame ${f.type} is not an object`);
  return value as Record<string, unknown>;
}

const number = (o: Record<string, unknown>, key: string, hi: number, whole = true): number => {
  const v = o[key];
  if (typeof v !== 'number' || !(v >= 0 && v <= hi) || (whole && !Number.isInteger(v))) {
    throw new ProtocolError(`${key} is ${JSON.stringify(v)}, must be ${whole ? 'a whole' : 'a'} number in 0..${hi}`);
  }
  return v;
};
const string = (o: Record<string, unknown>, key: string, most: number): string => {
  const v = o[key];
  if (typeof v !== 'string' || v.length > most) throw new ProtocolError(`${key} must be a string of at most ${most} characters`);
  return v;
};

export function decodeHead(f: Frame): PrefillHead {
  if (f.type !== FRAME.head) throw new ProtocolError(`a request starts with its head, not with frame ${f.type}`);
  const o = parse(f);
  const kv = o.kv;
  if (kv !== 'i8' && kv !== 'i8v4' && kv !== 'f32') throw new ProtocolError(`kv is ${JSON.stringify(kv)}, must be i8, i8v4 or f32`);
  return {
    ...{ pack: string(o, 'pack', 128), kv, numerics: string(o, 'numerics', 64), salt: string(o, 'salt', 1024) },
    ...{ have: number(o, 'have', MAX_IDS), deadlineMs: number(o, 'deadlineMs', 600_000, false) },
  };
}

export function decodeIds(f: Frame): number[] {
  if (f.type !== FRAME.ids) throw new ProtocolError(`token ids were expected, not frame ${f.type}`);
  const n = f.payload.length / 4;
  if (!Number.isInteger(n) || n < 1 || n > MAX_IDS)
    throw new ProtocolError(`${f.payload.length} bytes of token ids, must be 4 for each of 1..${MAX_IDS}`);
  const view = new DataView(f.payload.buffer, f.payload.byteOffset);
  return Array.from({ length: n }, (_, i) => view.getUint32(i * 4, true));
}

export function decodePage(f: Frame): PageFrame {
  if (f.type !== FRAME.page) throw new ProtocolError(`a page was expected, not frame ${f.type}`);
  const at = PAGE_HEAD - FRAME_HEAD;
  if (f.payload.length <= at) throw new ProtocolError(`a page of ${f.payload.length} bytes has no content`);
  return { ...fieldsOf(f.payload), bytes: f.payload.slice(at) };
}

export function decodeDone(f: Frame): PrefillTiming {
  if (f.type !== FRAME.done) throw new ProtocolError(`the end was expected, not frame ${f.type}`);
  const o = parse(f);
  const ms = (key: string): number => number(o, key, 1e9, false);
  return {
    ...{ deviceMs: ms('deviceMs'), hostMs: ms('hostMs'), queueMs: ms('queueMs') },
    ...{ tokens: number(o, 'tokens', MAX_IDS), pages: number(o, 'pages', MAX_IDS), cached: number(o, 'cached', MAX_IDS) },
  };
}

export const decodeFail = (f: Frame): string => string(parse(f), 'message', 4096);

/** Whether a page is what it says: this layout, so many bytes (or as many as it has without layers that slide). `hash` is SHA-256. */
export function pageFault(
  page: PageFrame,
  expect: { version: number; bytes: number; kept?: number },
  hash: (bytes: Uint8Array) => Uint8Array,
): string | null {
  if (page.version !== expect.version) return `layout version ${page.version}, must be ${expect.version}`;
  if (page.bytes.length !== expect.bytes && page.bytes.length !== expect.kept) return `${page.bytes.length} bytes, must be ${expect.bytes}`;
  const got = hash(page.bytes);
  return got.length === 32 && got.every((b, i) => b === page.sha256[i]) ? null : 'its bytes do not have its SHA-256';
}
