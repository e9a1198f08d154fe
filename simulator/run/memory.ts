import { instantiateTiles, SCRATCH_BYTES, type TileKernels, type TileModules } from './kernels.ts';

/** SRAM of one tile: all that a tile program can touch. Addresses count from its start. */
export class Sram {
  readonly u8: Uint8Array;
  readonly i8: Int8Array;
  readonly f32: Float32Array;
  readonly u32: Uint32Array;
  readonly i16: Int16Array;
  readonly u16: Uint16Array;
  /** Where it lies in the wasm memory, with the functions that work there. */
  readonly base: number;
  readonly kernels?: TileKernels;

  constructor(buffer: ArrayBuffer, base: number, bytes: number, kernels?: TileKernels) {
    this.u8 = new Uint8Array(buffer, base, bytes);
    this.i8 = new Int8Array(buffer, base, bytes);
    this.f32 = new Float32Array(buffer, base, bytes / 4);
    this.u32 = new Uint32Array(buffer, base, bytes / 4);
    this.i16 = new Int16Array(buffer, base, bytes / 2);
    this.u16 = new Uint16Array(buffer, base, bytes / 2);
    this.base = base;
    this.kernels = kernels;
  }
}

/**
 * The tiles' SRAM. With wasm it is one memory, of which the host hands out real pages only as they are touched; without,
 * a buffer a tile, as large as programs need it.
 */
export class Tiles {
  private readonly sram: Sram[] = [];
  private readonly size: number;
  private readonly wasm?: { memory: WebAssembly.Memory; kernels: TileKernels };

  constructor(count: number, sramBytes: number, modules?: TileModules) {
    this.size = Math.ceil(sramBytes / 64) * 64;
    if (!modules) return;
    const pages = Math.ceil((SCRATCH_BYTES + count * this.size) / 65536);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.wasm = { memory, kernels: instantiateTiles(modules, memory) };
  }

  /** The SRAM of a tile, at least `bytes` of it. */
  get(tile: number, bytes: number): Sram {
    let s = this.sram[tile];
    if (s && s.u8.length >= bytes) return s;
    if (this.wasm) s = new Sram(this.wasm.memory.buffer as ArrayBuffer, SCRATCH_BYTES + tile * this.size, this.size, this.wasm.kernels);
    else {
      const size = Math.ceil(bytes / 64) * 64;
      s = new Sram(new ArrayBuffer(size), 0, size);
    }
    this.sram[tile] = s;
    return s;
  }
}

/** An argument of a program: bytes of a buffer in the chip's HBM, from `base` on. */
export interface Binding {
  readonly bytes: Uint8Array;
  readonly base: number;
}

export type Bindings = Readonly<Record<string, Binding>>;
