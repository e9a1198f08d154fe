/** Pages for cases: random content in the page layout, and how to read pages as numbers. */
import type { Backend, KvPool, KvShape } from '../../../engine/backend.ts';
import {
  attentionBytes,
  convTokenBytes,
  kOffsetI8,
  kvHeadBytes,
  PAGE,
  pageBytes,
  valueBytes,
  vOffsetI4,
  vOffsetI8,
} from '../../../engine/layout.ts';
import type { Output } from './case.ts';
import { normals, random } from './data.ts';

export interface KvCase {
  format: KvShape['format'];
  H: number;
  G: number;
  d: number;
  layers?: number;
}

export const shapeOf = ({ format, G, d, layers = 2 }: KvCase): KvShape => ({ format, layers, kvHeads: G, headDim: d });

/** Fills every page: i8 with uniform integers (`largest`: 127 and −127, page by page) and scales around 0.02, f32 with normal values. */
export function fillPages(b: Backend, kv: KvPool, seed: number, largest = false): void {
  const head = kvHeadBytes(kv.shape);
  const d = kv.shape.headDim;
  const heads = kv.shape.layers * kv.shape.kvHeads;
  for (let page = 0; page < kv.pages; page++) {
    const bytes = new Uint8Array(kv.pageBytes);
    if (kv.shape.format === 'f32') {
      bytes.set(new Uint8Array(normals(kv.pageBytes / 4, seed + page).buffer));
    } else {
      const next = random(seed + page);
      const scales = new Float32Array(2 * PAGE);
      for (let h = 0; h < heads; h++) {
        const integers = d * PAGE + valueBytes(kv.shape);
        for (let i = 0; i < integers; i++) bytes[h * head + i] = largest ? 127 - 254 * (page & 1) : Math.floor(next() * 255) - 127;
        for (let i = 0; i < 2 * PAGE; i++) scales[i] = (next() + 0.2) * 0.02;
        bytes.set(new Uint8Array(scales.buffer), h * head + integers);
      }
    }
    b.write(kv.data, bytes, page * kv.pageBytes);
  }
}

/** Values of pages as numbers, in the order of the bytes. */
export function decodePages(shape: KvShape, bytes: Uint8Array): Float32Array {
  if (shape.format === 'f32') return new Float32Array(bytes.slice().buffer);
  const head = kvHeadBytes(shape);
  const d = shape.headDim;
  const out: number[] = [];
  const { width: D } = shape.convs ?? { width: 0 };
  const [page, own, token] = [pageBytes(shape), attentionBytes(shape), convTokenBytes(shape, D)];
  for (let at = 0; at < bytes.length; ) {
    if (at % page >= own) {
      const q = new Int8Array(bytes.buffer, bytes.byteOffset + at, D);
      const scales = new Float32Array(bytes.slice(at + D, at + token).buffer);
      for (let k = 0; k < D; k++) out.push(q[k] * scales[k >> 5]);
      at += token;
      continue;
    }
    const integers = d * PAGE + valueBytes(shape);
    const q = new Int8Array(bytes.buffer, bytes.byteOffset + at, integers);
    const scales = new Float32Array(bytes.slice(at + integers, at + head).buffer);
    const value = (j: number, k: number) =>
      shape.format === 'i8' ? q[d * PAGE + vOffsetI8(j, k, d)] : (q[d * PAGE + vOffsetI4(j, k, d)] << (28 - 4 * (j & 1))) >> 28;
    for (let j = 0; j < PAGE; j++) {
      for (let k = 0; k < d; k++) out.push(q[kOffsetI8(j, k)] * scales[j], value(j, k) * scales[PAGE + j]);
    }
    at += head;
  }
  return Float32Array.from(out);
}

export async function readPages(b: Backend, kv: KvPool): Promise<Output> {
  const bytes = await b.read(kv.data, 0, kv.pages * pageBytes(kv.shape));
  return { name: 'pages', bytes, values: decodePages(kv.shape, bytes) };
}
