import type { ActFormat, Buf } from '../engine/backend.ts';
import { BLOCK } from '../engine/formats.ts';
import { ACT_BLOCK } from './program/isa.ts';
import type { Binding } from './run/memory.ts';

/** A buffer in the HBM of every chip. Chips share its bytes until one of them stores into it. */
export class NpuBuf implements Buf {
  readonly label: string;
  readonly bytes: number;
  private readonly copies: Uint8Array[];
  /** Set when an op that should have filled it was fused into its reader. */
  fusedAway = false;

  /** Without `real`, bytes are there only once the host writes some: for models that are timed and have no weights. */
  constructor(label: string, bytes: number, chips: number, real = true) {
    this.label = label;
    this.bytes = bytes;
    this.copies = new Array(chips).fill(real ? this.fresh() : new Uint8Array(0));
  }

  private fresh(): Uint8Array {
    return new Uint8Array(Math.ceil(this.bytes / 16) * 16);
  }

  /** The bytes as one chip has them. */
  on(chip: number): Uint8Array {
    return this.copies[chip];
  }

  /** For a store: from now on the chip has bytes of its own. */
  own(chip: number): Uint8Array {
    if (this.copies.some((c, i) => i !== chip && c === this.copies[chip])) this.copies[chip] = this.copies[chip].slice();
    return this.copies[chip];
  }

  /** From the host into every chip. */
  write(bytes: Uint8Array, offset: number): void {
    if (this.copies[0].length < this.bytes) this.copies.fill(this.fresh());
    for (const copy of new Set(this.copies)) copy.set(bytes, offset);
  }

  u32(count: number): number[] {
    return Array.from(new Uint32Array(this.copies[0].buffer, this.copies[0].byteOffset, count));
  }

  bind(chip: number, base = 0): Binding {
    return { bytes: this.on(chip), base };
  }

  bindOwn(chip: number, base = 0): Binding {
    return { bytes: this.own(chip), base };
  }
}

export function npuBuf(buf: Buf): NpuBuf {
  if (buf instanceof NpuBuf) return buf;
  throw new Error(`${buf.label}: not a buffer of the NPU backend`);
}

/** Bytes of activations [rows, K]: f32 [rows, K], or blocks of 32 i8 with their scale (vector/rows.ts). */
export function actBufBytes(format: ActFormat, rows: number, K: number): number {
  if (format === 'f32') return rows * K * 4;
  if (K % BLOCK !== 0) throw new Error(`act: i8 needs K to be a multiple of ${BLOCK}, got ${K}`);
  return (rows * K * ACT_BLOCK) / BLOCK;
}
