/** SRAM of one tile: all that a tile program can touch. Views of it are cached because kernels ask for them all the time. */
export class Sram {
  readonly u8: Uint8Array;
  readonly i8: Int8Array;
  readonly f32: Float32Array;
  readonly u32: Uint32Array;
  readonly i16: Int16Array;
  readonly u16: Uint16Array;

  constructor(bytes: number) {
    const buffer = new ArrayBuffer(Math.ceil(bytes / 64) * 64);
    this.u8 = new Uint8Array(buffer);
    this.i8 = new Int8Array(buffer);
    this.f32 = new Float32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i16 = new Int16Array(buffer);
    this.u16 = new Uint16Array(buffer);
  }
}

/** An argument of a program: bytes of a buffer in the chip's HBM, from `base` on. */
export interface Binding {
  readonly bytes: Uint8Array;
  readonly base: number;
}

export type Bindings = Readonly<Record<string, Binding>>;
