import type { KvPool } from '../../engine/backend.ts';
import { kOffsetI8, kvHeadBytes, PAGE, valueBytes, vOffsetI4, vOffsetI8 } from '../../engine/layout.ts';
import { f32, i8 } from './buffers.ts';
import { quantize } from './numeric.ts';

/** Keys and values of one kv head of one layer of one page: 16 tokens. i8 values have a scale a token. */
export interface PageHead {
  key(j: number, k: number): number;
  value(j: number, k: number): number;
  keyScale(j: number): number;
  valueScale(j: number): number;
  /** Stores token j, quantized when the page is i8. */
  store(j: number, key: Float32Array, value: Float32Array): void;
}

/** Opens a page head in the layout of engine/layout.ts. */
export function pageHead(kv: KvPool, page: number, layer: number, g: number): PageHead {
  const { shape } = kv;
  const d = shape.headDim;
  if (page >= kv.pages) throw new Error(`page ${page} is outside the pool of ${kv.pages}`);
  const bytes = kvHeadBytes(shape);
  const at = page * kv.pageBytes + (layer * shape.kvHeads + g) * bytes;
  const words = f32(kv.data).subarray(at / 4, (at + bytes) / 4);
  if (shape.format === 'f32') {
    const values = words.subarray(d * PAGE);
    return {
      key: (j, k) => words[k * PAGE + j],
      value: (j, k) => values[j * d + k],
      keyScale: () => 1,
      valueScale: () => 1,
      store(j, key, value) {
        for (let k = 0; k < d; k++) words[k * PAGE + j] = key[k];
        values.set(value, j * d);
      },
    };
  }
  const keys = i8(kv.data).subarray(at, at + d * PAGE);
  const values = i8(kv.data).subarray(at + d * PAGE, at + d * PAGE + valueBytes(shape));
  const scales = words.subarray((d * PAGE + valueBytes(shape)) / 4);
  const q = new Int8Array(d);
  const half = (j: number) => 4 * (j & 1); // of a byte
  const [value, levels, put] =
    shape.format === 'i8'
      ? [
          (j: number, k: number) => values[vOffsetI8(j, k, d)],
          127,
          (j: number, k: number) => values.fill(q[k], vOffsetI8(j, k, d), vOffsetI8(j, k, d) + 1),
        ]
      : [
          (j: number, k: number) => (values[vOffsetI4(j, k, d)] << (28 - half(j))) >> 28,
          7,
          (j: number, k: number) => {
            const byte = vOffsetI4(j, k, d);
            values[byte] = (values[byte] & (0xf0 >> half(j))) | ((q[k] & 15) << half(j));
          },
        ];
  return {
    key: (j, k) => keys[kOffsetI8(j, k)],
    value,
    keyScale: (j) => scales[j],
    valueScale: (j) => scales[PAGE + j],
    store(j, key, value) {
      scales[j] = quantize(q, key, 127);
      for (let k = 0; k < d; k++) keys[kOffsetI8(j, k)] = q[k];
      scales[PAGE + j] = quantize(q, value, levels);
      for (let k = 0; k < d; k++) put(j, k);
    },
  };
}
