import type { Buf } from '../../engine/backend.ts';
import { WasmBuf } from './memory.ts';

/** Byte offset of a buffer of this backend. */
export function ptr(buf: Buf): number {
  if (buf instanceof WasmBuf) return buf.ptr;
  throw new Error(`${buf.label}: not a buffer of the wasm backend`);
}

/** Throws unless the buffer has the bytes that an op will touch. */
export function need(op: string, buf: Buf, bytes: number): void {
  if (buf.bytes < bytes) throw new Error(`${op}: ${buf.label} has ${buf.bytes} bytes, ${bytes} are needed`);
}
