/** The one wasm memory: how many bytes everything takes in it, and who hands it out. */
import type { Act, ActFormat, Allocator, Buf, KvPool, KvShape } from '../../engine/backend.ts';
import { BLOCK } from '../../engine/formats.ts';
import { pageBytes } from '../../engine/layout.ts';

/** Data of the module itself, then scratch for single calls. */
export const SCRATCH = 4096;
export const SCRATCH_BYTES = 448 * 1024 - SCRATCH;
/** Taken before the first allocation. */
export const STATIC_BYTES = SCRATCH + SCRATCH_BYTES;
const ALIGN = 64;
const WASM_PAGE = 65536;
/** Addresses have 32 bits; the last page stays free, so that where a buffer ends is an address too. */
const MAX_BYTES = 65535 * WASM_PAGE;

/** Bytes of an i8 block: 32 × i8, f32 scale, two i16 corrections (wasm/src/act.ts). */
export const ACT_BLOCK = 40;

/** What an allocation of `bytes` takes. */
export const reserved = (bytes: number): number => Math.ceil(bytes / ALIGN) * ALIGN;

/** Bytes of one row of activations. */
export function actStride(format: ActFormat, K: number): number {
  if (format === 'f32') return K * 4;
  if (K % BLOCK !== 0) throw new Error(`act: i8 needs K to be a multiple of ${BLOCK}, got ${K}; use f32 activations and weights`);
  return (K / BLOCK) * ACT_BLOCK;
}

/** Bytes of activations: their rows, and for i8 two f32 rows in which an op prepares what it quantizes. */
export const actBytes = (format: ActFormat, rows: number, K: number): number => rows * actStride(format, K) + (format === 'i8' ? K * 8 : 0);

export class WasmBuf implements Buf {
  readonly label: string;
  readonly bytes: number;
  readonly ptr: number;

  constructor(label: string, bytes: number, ptr: number) {
    this.label = label;
    this.bytes = bytes;
    this.ptr = ptr;
  }
}

/** Adds up allocations one after the other from STATIC_BYTES on; nothing is ever freed. */
class Bump implements Allocator {
  used = STATIC_BYTES;
  readonly capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  alloc(bytes: number, label: string): WasmBuf {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new Error(`wasm: ${label} asks for ${bytes} bytes`);
    const ptr = this.used;
    const need = ptr + reserved(bytes);
    if (need > this.capacity) {
      const most = `a wasm memory has at most ${MAX_BYTES} (4 GiB less a page): take a smaller model or format, or a shorter context`;
      const way = need > MAX_BYTES ? most : `plan a memory of at least ${need} bytes`;
      throw new Error(`wasm: ${label} needs ${bytes} bytes, ${ptr} of ${this.capacity} are taken; ${way}`);
    }
    this.used = need;
    return new WasmBuf(label, bytes, ptr);
  }

  act(format: ActFormat, rows: number, K: number, label: string): Act {
    return { format, rows, K, data: this.alloc(actBytes(format, rows, K), label) };
  }

  kvPool(shape: KvShape, pages: number): KvPool {
    return { shape, pages, pageBytes: pageBytes(shape), data: this.alloc(pages * pageBytes(shape), 'kv pages') };
  }
}

/**
 * Stands in for the backend in a memory plan: make the same allocations, then `used` is the memoryBytes that
 * createWasm needs, to the byte.
 */
export function countWasm(): Allocator & { readonly used: number } {
  return new Bump(MAX_BYTES);
}

/** A zeroed memory of at least `bytes` and its allocator. */
export function createMemory(bytes: number): { memory: WebAssembly.Memory; bump: Bump } {
  if (!(bytes >= STATIC_BYTES && bytes <= MAX_BYTES)) {
    throw new Error(`wasm: memoryBytes is ${bytes}, must be between ${STATIC_BYTES} and ${MAX_BYTES}`);
  }
  const pages = Math.ceil(bytes / WASM_PAGE);
  return { memory: new WebAssembly.Memory({ initial: pages, maximum: pages }), bump: new Bump(bytes) };
}
