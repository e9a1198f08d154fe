import type { Act, Buf } from '../../engine/backend.ts';
import { BLOCK } from '../../engine/formats.ts';
import { quantize } from './numeric.ts';

/** A buffer of the reference: its own ArrayBuffer. */
export class RefBuf implements Buf {
  readonly label: string;
  readonly bytes: number;
  readonly data: ArrayBuffer;

  constructor(label: string, bytes: number) {
    this.label = label;
    this.bytes = bytes;
    this.data = new ArrayBuffer(Math.ceil(bytes / 4) * 4);
  }
}

function data(buf: Buf): ArrayBuffer {
  if (buf instanceof RefBuf) return buf.data;
  throw new Error(`${buf.label}: not a buffer of the reference backend`);
}

export const f32 = (buf: Buf): Float32Array => new Float32Array(data(buf));
export const u32 = (buf: Buf): Uint32Array => new Uint32Array(data(buf));
export const i8 = (buf: Buf): Int8Array => new Int8Array(data(buf));
export const u8 = (buf: Buf): Uint8Array => new Uint8Array(data(buf));

/** Bytes of activations [rows, K]: f32 [rows, K], or i8 [rows, K] and then f32 scales [rows, K/32]. */
export function actBytes(format: Act['format'], rows: number, K: number): number {
  if (format === 'f32') return rows * K * 4;
  if (K % BLOCK !== 0) throw new Error(`act: i8 needs K to be a multiple of ${BLOCK}, got ${K}`);
  return rows * K + ((rows * K) / BLOCK) * 4;
}

/** Scales f32 [rows, K/32] of i8 activations. */
export const actScales = (act: Act): Float32Array => new Float32Array(data(act.data), act.rows * act.K);

/** Stores row t of activations, quantized in blocks of 32 when they are i8. */
export function storeAct(act: Act, t: number, y: Float32Array): void {
  if (act.format === 'f32') {
    f32(act.data).set(y, t * act.K);
    return;
  }
  const q = i8(act.data).subarray(t * act.K, (t + 1) * act.K);
  const scales = actScales(act);
  for (let b = 0; b < act.K / BLOCK; b++) {
    const block = [b * BLOCK, (b + 1) * BLOCK] as const;
    scales[(t * act.K) / BLOCK + b] = quantize(q.subarray(...block), y.subarray(...block), 127);
  }
}
