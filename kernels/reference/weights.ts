import type { Weight } from '../../engine/backend.ts';
import { BLOCK, ROWS, rowGroupBytes, unpackWeight } from '../../engine/layout.ts';
import { f16ToF32 } from '../../engine/math.ts';
import { u8 } from './buffers.ts';

/** A row of a quantized matrix: integers as they enter the dot product (w4: q − 8), and a scale a block. */
export interface QuantizedRow {
  q: Int8Array; // [K]
  d: Float32Array; // [K/32]
}

function groupBytes(w: Weight, n: number): Uint8Array {
  const bytes = rowGroupBytes(w.format, w.K);
  return u8(w.data).subarray(Math.floor(n / ROWS) * bytes, (Math.floor(n / ROWS) + 1) * bytes);
}

export function quantizedRow(w: Weight, n: number): QuantizedRow {
  const parts = unpackWeight(w.format === 'w4' ? 'w4' : 'w8', ROWS, w.K, groupBytes(w, n));
  const r = n % ROWS;
  const offset = w.format === 'w4' ? 8 : 0;
  const blocks = w.K / BLOCK;
  return {
    q: Int8Array.from(parts.q.subarray(r * w.K, (r + 1) * w.K), (v) => v - offset),
    d: Float32Array.from(parts.d.subarray(r * blocks, (r + 1) * blocks), f16ToF32),
  };
}

export function f32Row(w: Weight, n: number): Float32Array {
  const r = n % ROWS;
  return unpackWeight('f32', ROWS, w.K, groupBytes(w, n)).subarray(r * w.K, (r + 1) * w.K);
}
