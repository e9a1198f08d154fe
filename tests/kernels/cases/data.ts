/** Seeded data: the same numbers on every machine. */
import { f32ToF16 } from '../../../engine/math.ts';
import { emptyPlanes, PLANES, type PlaneName, type Planes } from '../../../engine/planes.ts';

/** mulberry32: uniform in [0, 1). */
export function random(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Roughly normal values (sum of four uniforms), standard deviation `scale`. */
export function normals(n: number, seed: number, scale = 1): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: n }, () => (next() + next() + next() + next() - 2) * Math.sqrt(3) * scale);
}

/** As activations are in practice: normal, every 97th value 30 times as large, one block of zeros, one of tiny values. */
export function activations(n: number, seed: number): Float32Array {
  const x = normals(n, seed);
  for (let i = 5; i < n; i += 97) x[i] *= 30;
  if (n >= 192) {
    x.fill(0, 64, 96);
    for (let i = 128; i < 160; i++) x[i] *= 1e-36;
  }
  return x;
}

/** w4 parts: q uniform in 0..15; scales around 0.02, some negative, some subnormal. */
export function w4(N: number, K: number, seed: number, real = false): { q: Uint8Array; d: Uint16Array } {
  const next = random(seed);
  return { q: Uint8Array.from({ length: N * K }, () => Math.floor(next() * 16)), d: scales((N * K) / 32, next, 0.02, real) };
}

/** w8 parts: q uniform in −128..127. */
export function w8(N: number, K: number, seed: number, real = false): { q: Int8Array; d: Uint16Array } {
  const next = random(seed);
  return { q: Int8Array.from({ length: N * K }, () => Math.floor(next() * 256) - 128), d: scales((N * K) / 32, next, 0.002, real) };
}

/** Parts of a format of planes: every integer uniform over all its bits, so that the largest sums occur. */
export function planes(format: PlaneName, N: number, K: number, seed: number, real = false): Planes {
  const f = PLANES[format];
  const next = random(seed);
  const parts = emptyPlanes(f, N, K);
  const fill = (values: Uint8Array, bits: readonly number[]) => {
    const n = 2 ** bits.reduce((a, b) => a + b, 0);
    for (let i = 0; i < values.length; i++) values[i] = Math.floor(next() * n);
  };
  fill(parts.q, f.q);
  fill(parts.scales, f.scales);
  fill(parts.minima, f.minima);
  const size = f.block === 256 ? (real ? 2e-5 : 0.001) : 0.01;
  if (f.scale === 'e8m0') parts.d.set(Array.from(parts.d, (_, i) => (!real && i % 31 === 11 ? i % 3 : 118 + Math.floor(next() * 6))));
  else parts.d.set(scales(parts.d.length, next, size, real));
  parts.m.set(scales(parts.m.length, next, f.block === 256 ? (real ? 0.001 : size) : 8 * size, real));
  return parts;
}

/** `real`: as files have them, none of which is much smaller than the others; those of Q6_K's super-blocks are subnormal. */
function scales(n: number, next: () => number, size: number, real = false): Uint16Array {
  const small = real ? 1 : 1e-4;
  return Uint16Array.from({ length: n }, (_, i) => f32ToF16((next() + 0.5) * size * (i % 7 === 3 ? -1 : 1) * (i % 31 === 11 ? small : 1)));
}
