// Writes the AssemblyScript of the kernels that differ only in a table's row: products with weights of every format, by every
// way of multiplying, for tiles of several sizes. Loops over rows, tokens and columns of a block are written out here, so that
// the engine finds nothing but loads, products and sums. wasm/build.mjs compiles what this returns as `./generated`.
//
// Weights. A block of 8 rows × 32 columns is unpacked into 16 vectors of 4 rows × 4 columns of bytes 0..255 (rows 0..3 and 4..7 in
// turn, columns ascending), then f32 scales of 8 rows for every sub-block, then minima.
// Activations. A token's block: its values as a way wants them, f32 scale at SCALE, then for every sub-block what its sum starts
// from (i32, −zero · Σ a), or with minima what they multiply (f32: Σ a, of a single sub-block times the scale).
//
// The ladder, 896 × 4864 of w4 at 1, 8 and 128 tokens:
//   1  sums in i16 (src/tile.ts, src/direct.ts), tokens spread over 160 bytes a block: few fit at a long K      34    49    45
//   2  dot-add on unpacked rows in chunks of 1,024 columns, which stay in the first-level cache; tokens broadcast
//      by 32-bit loads from 48 bytes a block (in tiles of 64 tokens: 74)                                        20    57    67
//   3  one token: unpacked in registers, no unpacked rows in memory                                            38.5
// and of other formats then: q4_1 34, 50, 59; w8 27, 52, 65; q4_k 28, –, 59; q5_0 24, –, 65; q6_k 18, –, 50.
//   4  two sub-blocks of 16 joined before the token's scale: q6_k at 128 tokens from 0.70 to 0.81 of w4, q3_k 0.75 to 0.86,
//      q2_k 0.65 to 0.74
//   5  no subnormal operand where scales of super-blocks are read (src/wide.ts): 99 % of Q6_K's in real files are, 43 % of Q4_K's in Qwen's.
//      One token of q6_k as files have it 7.7 → 14.4, of q4_k 10.9 → 19.5, 2 of q6_k 12.8 → 15.6, 128 35 → 38
//   6  2 to 8 tokens: tiles that unpack in registers and write nothing but sums; w4 at 2 22 → 44, 4 38 → 53, 5 38 → 48, 8 as 4 + 4
//      44 → 48; q5_0 at 2 20 → 32; q6_k at 2 16 → 21. From 9 on unpacked rows win (12 in threes and fours: 44)
//   7  up to 8 tokens: eight groups of rows that lie far apart go on together, a block of each, after a read of every line of these blocks. All
//      matrices of a model one after the other, so that they come from memory (SmolLM2's 66 MB of q4_1, 84 MB of Qwen's as q4_k, 110 as q6_k):
//      q4_1 at 1 token 9.4 → 17.3 (5.9 → 10.8 GB/s), 2 18 → 31, 4 23 → 33; w8 at 1 6.5 → 9; q4_k at 1 10 → 15.5, 2 16 → 25, 4 20 → 27; q6_k at 1 8.2 → 12.2, 2 13.6 → 22.
//      Of q4_1 at 1 token two groups gave 14.9, four 18.8, six 24.2, eight 24.7 where one gave 11.4 (the quietest runs of a trial, written out); twelve and sixteen no more.
//      Without the reads ahead as much only where all eight are written out (1.5 MB of code): what reads ahead tells streams apart by instruction
//   8  what is not a product: scales of super-blocks with tables and masks in locals and constants in memory, signed integers converted at 2²⁴ times
//      their size (a super-block of 8 rows: q4_k 365 → 251 instructions, q6_k 282 → 194, any_k 563 → 383); sums that are floats already, so that no
//      conversion takes a multiplication's port (w4 at 128 tokens 69 → 72, q3_k 59 → 61)
//   9  minima read once for all tokens, not after every store again: q4_1 at 2 to 4 tokens 52 → 56, q5_1 44 → 49
//  10  from 5 tokens on the first tile, which unpacks in registers, also stores what it unpacked, of two blocks of all eight groups (eight of a super-block),
//      and the other tiles find it in the first-level cache: of 8 tokens w4 72 → 81, w8 66 → 76, q4_1 62 → 72, q4_k 62 → 71, q5_0 61 → 73, q6_k 51 → 62.
//      From memory, in a step of 16 (there one group alone was unpacked, without reads ahead): q5_0 64 → 77, w8 58 → 75, q4_1 63 → 74
//      Tried before: all unpacked by a loop of its own, then the tiles of all tokens: 62, 59, 62, 62, 62, 54; one block at a time or eight, not two: within 4 %
//  11  one token: sums of their own for odd quads, which are not shifted back one by one: w4 38 → 41, q4_1 35 → 38, q4_k 31 → 33, q5 and tables 3 to 5 %. Of
//      sub-blocks of 16, whose chains are short already: less; what adds their two halves in locals: 1 %
// Tried then: masks in locals where rows are unpacked (the engine does that by itself), two sums a row for shorter chains, two blocks of a super-block
// together with sums in locals (101 → 94 instructions a block of q4_k): within the noise, all. What counts is what the three vector ports do.
// What limits it: the two ports that have the dot-add, conversions and multiplications: 11 of 12 operations a block, token and 4 rows.
// The bare tile (no unpacking, no tails) gives 76 to 80. One token from memory: 11 to 15 GB/s of the 14 to 18 that
// reading alone gives. A single stream gave 6: its lines came one page after the other, and the core's window holds 12 of them. Reads ahead in that
// stream gave between −20 and +30 % from run to run, at every distance tried (320 bytes to 8 KB).
// Figures: G multiply-adds a second in workerd 1.20260426.1 (V8 14.7), processor time, one core of a Xeon with AVX-VNNI (family 6,
// model 167, 2.6 GHz), other work on both cores, 2026-11-30.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** engine/planes.ts has the layouts; `zero` is what is taken from the bytes that a kernel multiplies (tables are lifted above 0). */
const NL = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113].map((v) => v + 128);
const FP4 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12].map((v) => v + 12);
const block32 = { super: false, sub: 32, min: false, scales: [], minima: [] };
const block256 = { ...block32, super: true };
export const formats = {
  w8: { ...block32, q: [8], zero: 128 },
  w4: { ...block32, q: [4], zero: 8 },
  q4_1: { ...block32, q: [4], zero: 0, min: true },
  q5_0: { ...block32, q: [4, 1], zero: 16 },
  q5_1: { ...block32, q: [4, 1], zero: 0, min: true },
  iq4_nl: { ...block32, q: [4], zero: 128, table: NL },
  mxfp4: { ...block32, q: [4], zero: 12, table: FP4, e8m0: true },
  q2_k: { ...block256, sub: 16, q: [2], zero: 0, scales: [4], min: true, minima: [4] },
  q3_k: { ...block256, sub: 16, q: [2, 1], zero: 4, scales: [4, 2], scaleZero: 32 },
  q4_k: { ...block256, q: [4], zero: 0, scales: [4, 2], min: true, minima: [4, 2] },
  q5_k: { ...block256, q: [4, 1], zero: 0, scales: [4, 2], min: true, minima: [4, 2] },
  q6_k: { ...block256, sub: 16, q: [4, 2], zero: 32, scales: [8] },
  iq4_xs: { ...block256, q: [4], zero: 128, table: NL, scales: [4, 2], scaleZero: 32 },
  any_k: { ...block256, sub: 16, q: [4, 2], zero: 0, scales: [8], min: true, minima: [8] },
};

const list = (n, f) => Array.from({ length: n }, (_, i) => f(i)).join('');
const sum = (a) => a.reduce((x, y) => x + y, 0);

/** Bytes of the planes of q of 8 rows × 32 columns, and of everything of 8 rows × one block. */
const qBytes = (f) => 32 * sum(f.q);
const subs = (f) => (f.super ? 256 : 32) / f.sub;
export const blockBytes = (f) =>
  (f.super ? 8 : 1) * qBytes(f) + (f.e8m0 ? 8 : 16) + (f.min ? 16 : 0) + (f.super ? subs(f) * (sum(f.scales) + sum(f.minima)) : 0);

/** Sub-blocks of 32 columns; bytes of an unpacked block. */
const parts = (f) => 32 / f.sub;
const unpacked = (f) => 256 + 32 * parts(f) * (f.min ? 2 : 1);
/** Names the tiles that a format shares with others. */
const shapeOf = (f) => `${f.sub}${f.min ? 'm' : ''}`;
const shapes = [...new Set(Object.values(formats).map(shapeOf))].map((name) => Object.values(formats).find((f) => shapeOf(f) === name));

// ---- weights

/** A vector shifted so that its bit `from` comes to `to`, in every byte; what crosses bytes is to be masked away. */
const shifted = (v, from, to) => (from === to ? v : from < to ? `i16x8.shl(${v}, ${to - from})` : `i16x8.shr_u(${v}, ${from - to})`);
const masked = (v, bits, at) => `v128.and(${v}, mask(${((1 << bits) - 1) << at}))`;

/** Product vector of columns 4j.., rows 4h.. of the block at q. */
function vector(f, j, h) {
  if (f.q[0] === 8) {
    const [low, half] = [`v128.load(q, ${32 * j})`, `v128.load(q, ${32 * j + 16})`];
    const lanes = h === 0 ? '0, 8, 1, 9, 2, 10, 3, 11' : '4, 12, 5, 13, 6, 14, 7, 15';
    return `v128.xor(v128.shuffle<i16>(${low}, ${half}, ${lanes}), mask(128))`;
  }
  let at = 0;
  let low = 0;
  const terms = f.q.map((bits) => {
    const c = 8 / bits;
    const load = `v128.load(q, ${at + Math.floor(j / c) * 32 + h * 16})`;
    const term = masked(shifted(load, bits * (j % c), low), bits, low);
    at += 32 * bits;
    low += bits;
    return term;
  });
  const q = terms.reduce((a, b) => `v128.or(${a}, ${b})`);
  return f.table ? `lookup(${f.table === NL ? 'TABLE_NL' : 'TABLE_FP4'}, ${q})` : q;
}

/** Scales (and minima) of the block of 32 at q, as 2 or 4 vectors. */
function blockScales(f) {
  const at = qBytes(f);
  if (f.e8m0) return [32, 48].map((ends) => `powers(swizzle(v128.load(q, ${at - 8}), v128.load(HIGH_ENDS, ${ends})))`);
  const pair = (o) => [`lowScales(v128.load(q, ${o}))`, `highScales(v128.load(q, ${o}))`];
  return f.min ? [...pair(at), ...pair(at + 16)] : pair(at);
}

/** Vector v of a section of integers in planes at q + at: a byte for each of two sub-blocks × 8 rows. */
function integers(planes, n, at, v) {
  let low = 0;
  return planes
    .map((bits) => {
      const c = 8 / bits;
      const term =
        bits === 8
          ? `v128.load(q, ${at + v * 16})`
          : masked(shifted(`v128.load(q, ${at + Math.floor(v / c) * 16})`, bits * (v % c), low), bits, low);
      at += n * bits;
      low += bits;
      return term;
    })
    .reduce((a, b) => `v128.or(${a}, ${b})`);
}

/** Expands the scales of a block of 256 to f32 at out: for each 32 columns, `step` bytes apart, sub-blocks of 8 scales, then minima. */
function superScales(name, f) {
  const n = subs(f);
  const place = (sub) => `${Math.floor(sub / parts(f))} * step + ${(sub % parts(f)) * 32}`;
  const scalesAt = f.min ? 32 : 16;
  const minimaAt = scalesAt + n * sum(f.scales);
  const signed = (planes, zero) => zero || planes[0] === 8;
  const supers = (d, planes, zero, sign = (v) => v) =>
    ['low', 'high']
      .map((half, i) => [i, sign(`${half}Super(x)`)])
      .map(([i, v]) => `\n  const ${d}${i} = ${signed(planes, zero) ? `f32x4.mul(${v}, f32x4.splat(${2 ** -24}))` : v};`)
      .join('');
  const expand = (planes, at, zero, d, shift) =>
    list(n / 2, (v) => {
      const lines = [`x = ${integers(planes, n, at, v)};`];
      if (zero) lines.push(`x = i8x16.sub(x, mask(${zero}));`);
      for (let i = 0; i < 4; i++) {
        const spread = `swizzle(x, ${signed(planes, zero) ? 'high' : 'low'}${i})`; // high: times 2²⁴, which is taken off d
        lines.push(
          `v128.store(out + ${place(2 * v + (i >> 1))}, f32x4.mul(f32x4.convert_i32x4_s(${spread}), ${d}${i & 1}), ${shift + 16 * (i & 1)});`,
        );
      }
      return `\n  ${lines.join('\n  ')}`;
    });
  const body = `
  let x = v128.load(q);${supers('d', f.scales, f.scaleZero)}${expand(f.scales, scalesAt, f.scaleZero, 'd', 0)}${
    f.min
      ? `
  x = v128.load(q, 16);${supers('m', f.minima, 0, (v) => `f32x4.neg(${v})`)}${expand(f.minima, minimaAt, 0, 'm', 32 * parts(f))}`
      : ''
  }`;
  // tables and masks are held: after a store the engine would load them again
  const tables = [...new Set(body.match(/\b(low|high)\d\b/g))].map(
    (t) => `\n  const ${t} = v128.load(${t.slice(0, -1).toUpperCase()}_ENDS, ${16 * Number(t.at(-1))});`,
  );
  const masks = [...new Set(body.match(/\bmask\(\d+\)/g))].map((m) => `\n  const ${held(m)} = ${m};`);
  return `
@inline
function scales_${name}(out: usize, step: usize, q: usize): void {${tables.join('')}${masks.join('')}${body.replaceAll(/\bmask\(\d+\)/g, held)}
}`;
}
/** The name of a local that holds a mask. */
const held = (mask) => mask.replace(/\((\d+)\)/, '$1');

const header = (f) => blockBytes(f) - 8 * qBytes(f);

/** Unpacks \`blocks\` blocks of 32 of a row group. */
function unpack(name, f) {
  const size = unpacked(f);
  const vectors = list(8, (j) => list(2, (h) => `\n    v128.store(out, ${vector(f, j, h)}, ${32 * j + 16 * h});`));
  if (!f.super)
    return `
export function unpack_${name}(out: usize, q: usize, blocks: i32): void {
  for (const end = q + <usize>blocks * ${blockBytes(f)}; q < end; q += ${blockBytes(f)}, out += ${size}) {${vectors}${blockScales(f)
    .map((v, i) => `\n    v128.store(out, ${v}, ${256 + 16 * i});`)
    .join('')}
  }
}`;
  return `${superScales(name, f)}
export function unpack_${name}(out: usize, q: usize, blocks: i32): void {
  for (let b = 0; b < blocks; b += 8) {
    scales_${name}(out + 256, ${size}, q);
    q += ${header(f)};
    for (const stop = q + ${8 * qBytes(f)}; q < stop; q += ${qBytes(f)}, out += ${size}) {${vectors.replaceAll('\n', '\n  ')}
    }
  }
}`;
}

// ---- products

/**
 * Ways of multiplying: `quad` adds the products of weights v and w (rows 0..3, 4..7 × 4 columns) with token t's columns 4j.. to its
 * sums s and u. \`dot\`: one instruction a vector (i32x4.relaxed_dot_i8x16_i7x16_add_s). \`pair\`: even and odd columns as i16.
 */
const ways = {
  dot: {
    values: 32,
    weights: (j, load) => [`v = ${load(j, 0)};`, `w = ${load(j, 1)};`],
    product: (j, t) => [
      `x = v128.load32_splat(a${t}, ${4 * j});`,
      `s${t} = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, v, s${t});`,
      `u${t} = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w, u${t});`,
    ],
    locals: 'let v: v128, w: v128, x: v128;',
  },
  pair: {
    values: 64,
    weights: (j, load) => [
      `v = ${load(j, 0)};`,
      `w = ${load(j, 1)};`,
      'v1 = i16x8.shr_u(v, 8);',
      'w1 = i16x8.shr_u(w, 8);',
      'v = v128.and(v, mask16());',
      'w = v128.and(w, mask16());',
    ],
    product: (j, t) => [
      `x = v128.load32_splat(a${t}, ${8 * j});`,
      `s${t} = i32x4.add(s${t}, i32x4.dot_i16x8_s(x, v));`,
      `u${t} = i32x4.add(u${t}, i32x4.dot_i16x8_s(x, w));`,
      `x = v128.load32_splat(a${t}, ${8 * j + 4});`,
      `s${t} = i32x4.add(s${t}, i32x4.dot_i16x8_s(x, v1));`,
      `u${t} = i32x4.add(u${t}, i32x4.dot_i16x8_s(x, w1));`,
    ],
    locals: 'let v: v128, w: v128, v1: v128, w1: v128, x: v128;',
  },
};
/** Bytes of a token's block. */
const tokenBytes = (way) => way.values + 16;

/** Scales and minima of an unpacked block: `at` is the address of the first. */
const storedScales = (f, at, offset) => ({
  scale: (part, h) => `v128.load(${at}, ${offset + 32 * part + 16 * h})`,
  minimum: (part, h) => `v128.load(${at}, ${offset + 32 * parts(f) + 32 * part + 16 * h})`,
});

/** Those of the packed block at q, of which a super-block's are expanded at e. */
const packedScales = (f) =>
  f.super ? storedScales(f, 'e', 0) : { scale: (_, h) => blockScales(f)[h], minimum: (_, h) => blockScales(f)[2 + h] };

/**
 * What a block adds to its f32 sum, from the sums s of its sub-blocks (NUMERICS.md): with one, f32(s) · (scale · da), plus minimum ·
 * (Σ a · da); with two, (f32(s) · scale + f32(s') · scale') · da, the minima's products added before. x: da, m: minima, y:
 * what multiplies them. The sums are in memory at acc, what the first of two parts adds at HALVES.
 */
function finish(f, way, p, T, { scale, minimum }) {
  const n = parts(f);
  const last = p === n - 1;
  const lines = [`c = ${scale(p, 0)};`, `d = ${scale(p, 1)};`];
  // minima once for all tokens: the engine does not know that a store leaves them as they are
  if (f.min && last) for (let i = 0; i < 2 * n; i++) lines.push(`m${i} = ${minimum(i >> 1, i & 1)};`);
  for (let t = 0; t < T; t++) {
    if (last) lines.push(`x = v128.load32_splat(a${t}, ${way.values});`);
    if (f.min && last) for (let i = 0; i < n; i++) lines.push(`y${i} = v128.load32_splat(a${t}, ${way.values + 4 + 4 * i});`);
    for (const h of [0, 1]) {
      const [at, own] = [32 * t + 16 * h, 'cd'[h]];
      const product = (scale) => `f32x4.mul(f32x4.sub(${'su'[h]}${t}, magic), ${scale})`;
      const minima = list(n, (i) => `${i ? ', ' : ''}f32x4.mul(m${2 * i + h}, y${i})`);
      const plus = (v) => (f.min ? `f32x4.add(${v}, ${n === 1 ? minima : `f32x4.add(${minima})`})` : v);
      const add = (v) => `v128.store(acc, f32x4.add(v128.load(acc, ${at}), ${v}), ${at});`;
      if (!last) lines.push(`v128.store(HALVES, ${product(own)}, ${at});`);
      else if (n === 1) lines.push(add(plus(product(`f32x4.mul(${own}, x)`))));
      else lines.push(add(`f32x4.mul(${plus(`f32x4.add(v128.load(HALVES, ${at}), ${product(own)})`)}, x)`));
    }
  }
  return lines;
}

/** One block of 8 rows × T tokens: sums, products, scales. `row(i, h)` says where half h of row i's weights is; `keep` writes what is unpacked. */
function products(f, way, T, row, scales, keep = () => []) {
  const lines = [];
  const quads = 8 / parts(f);
  for (let p = 0; p < parts(f); p++) {
    for (let t = 0; t < T; t++) {
      lines.push(f.min ? `s${t} = magic;` : `s${t} = v128.load32_splat(a${t}, ${way.values + 4 + 4 * p});`, `u${t} = s${t};`);
    }
    for (let j = p * quads; j < (p + 1) * quads; j++) {
      lines.push(...way.weights(j, row), ...keep(j));
      for (let t = 0; t < T; t++) lines.push(...way.product(j, t));
    }
    lines.push(...finish(f, way, p, T, scales));
  }
  return lines;
}

/** Whether one token has a function of its own where bytes are unsigned. */
const takesUnsigned = (f) => f.q.length === 1 && f.q[0] === 4 && !f.table;

/**
 * One block of 8 rows × one token, of formats with one scale. Odd quads have sums of their own, so that chains of sums are half as long; and they are
 * multiplied at 2^n times what they are where that saves shifts. Of a nibble and a bit, n = 1: one shift of the bits serves an even quad and
 * the odd one after it. Of nibbles alone, n = 4, no odd quad is shifted: bytes go up to 240, for machines that take them as unsigned.
 */
function oneProducts(f, way, scales, unsigned) {
  const n = takesUnsigned(f) ? (unsigned ? 4 : 0) : f.q[1] === 1 ? 1 : 0;
  const nibbles = (j, h) => `v128.load(q, ${(j >> 1) * 32 + 16 * h})`;
  const bits = (j, h) => shifted(`v128.load(q, ${128 + 16 * h})`, j & 6, 4);
  const odd = {
    0: (j, h) => vector(f, j, h),
    1: (j, h) => `v128.or(v128.and(i16x8.shr_u(${nibbles(j, h)}, 3), mask(30)), v128.and(${bits(j, h)}, mask(32)))`,
    4: (j, h) => `v128.and(${nibbles(j, h)}, mask(240))`,
  }[n];
  const lines = [f.min ? 's0 = magic;' : `s0 = v128.load32_splat(a0, ${way.values + 4});`, 'u0 = s0;', 's1 = u1 = i32x4.splat(0);'];
  for (let j = 0; j < 8; j++) {
    const product = way.product(j, 0);
    lines.push(
      ...way.weights(j, j & 1 ? odd : (i, h) => vector(f, i, h)),
      ...product.map((l) => (j & 1 ? l.replaceAll(/\b([su])0\b/g, '$11') : l)),
    );
  }
  const back = (v) => (n ? `i32x4.shr_s(${v}, ${n})` : v);
  lines.push(`s0 = i32x4.add(s0, ${back('s1')});`, `u0 = i32x4.add(u0, ${back('u1')});`);
  return [...lines, ...finish(f, way, 0, 1, scales)];
}

const locals = (way, f) =>
  `${way.locals} let c: v128, d: v128; const magic = v128.load(MAGIC);${f.min ? ' let y0: v128, y1: v128, m0: v128, m1: v128, m2: v128, m3: v128;' : ''}`;

/** A tile of 8 unpacked rows × T tokens: sums at acc [T][8] go on. */
function tile(wayName, f, T) {
  const way = ways[wayName];
  const lines = products(f, way, T, (i, h) => `v128.load(rows, ${32 * i + 16 * h})`, storedScales(f, 'rows', 256));
  return `
function tile_${wayName}_${shapeOf(f)}_${T}(acc: usize, a: usize, stride: usize, rows: usize, blocks: i32): void {
  ${list(T, (t) => `let a${t} = a + ${t} * stride; let s${t}: v128, u${t}: v128; `)}
  ${locals(way, f)}
  for (const end = rows + <usize>blocks * ${unpacked(f)}; rows < end; rows += ${unpacked(f)}) {
    ${lines.join('\n    ')}
    ${list(T, (t) => `a${t} += ${tokenBytes(way)}; `)}
  }
}`;
}

/** Reads of each line of a block of `bytes` of STREAMS groups that lie `apart`. */
const touches = (bytes) => {
  const touch = list(Math.ceil(bytes / 64), (i) => `seen |= i32.load(q, ${Math.min(64 * i, bytes - 4)}); `);
  return `
      q = group;${list(STREAMS, () => `\n      ${touch}q += apart;`)}
      q = group;`;
};

/**
 * STREAMS groups of 8 packed rows that lie \`apart\`, × T tokens: unpacked in registers, nothing but sums is written, at acc [STREAMS][T][8].
 * A block of each group after the other; before them, a read of each line of these blocks.
 */
function fewTile(name, f, T, unsigned = false) {
  const way = ways.dot;
  const step = 32 * parts(f) * (f.min ? 2 : 1);
  const lines =
    T === 1 && f.sub === 32
      ? oneProducts(f, way, packedScales(f), unsigned)
      : products(f, way, T, (i, h) => vector(f, i, h), packedScales(f));
  const bytes = f.super ? qBytes(f) : blockBytes(f);
  const block = `${touches(bytes)}
      for (acc = first; acc < last; acc += ${32 * T}, q += apart${f.super ? `, e += ${8 * step}` : ''}) {
        ${lines.join('\n        ')}
      }
      ${list(T, (t) => `a${t} += ${tokenBytes(way)}; `)}`;
  return `
function few_${name}_${T}${unsigned ? 'u' : ''}(acc: usize, a: usize, stride: usize, group: usize, apart: usize, blocks: i32, scratch: usize): void {
  ${list(T, (t) => `let a${t} = a + ${t} * stride; let s${t}: v128, u${t}: v128; `)}
  ${locals(way, f)} let q: usize;${T === 1 ? ' let s1: v128, u1: v128;' : ''}
  let seen = 0;
  const first = acc;
  const last = acc + ${STREAMS * 32 * T};
  const end = a + <usize>blocks * ${tokenBytes(way)};
  for (; a0 < end; ) {${
    f.super
      ? `
    let e = scratch;
    q = group;
    for (let i = 0; i < STREAMS; i++, e += ${8 * step}, q += apart) scales_${name}(e, ${step}, q);
    group += ${header(f)};
    let scales = scratch;
    for (const stop = group + ${8 * bytes}; group < stop; group += ${bytes}, scales += ${step}) {
      e = scales;${block}
    }`
      : `${block}
    group += ${bytes};`
  }
  }
  i32.store(SEEN, seen); // or the compiler leaves the reads out
}`;
}

/** The first tile of several: what it unpacks it writes to out [blocks][STREAMS] too, where the others find it. */
function firstTile(name, f, T) {
  const way = ways.dot;
  const size = unpacked(f);
  const scales = f.super ? storedScales(f, 'o', 256) : packedScales(f);
  const keep = (j) => ['v', 'w'].map((v, h) => `v128.store(o, ${v}, ${32 * j + 16 * h});`);
  const lines = products(f, way, T, (i, h) => vector(f, i, h), scales, keep);
  const names = ['c', 'd', ...(f.min ? ['m0', 'm1'] : [])];
  const keepScales = f.super ? '' : list(names.length, (i) => `\n        v128.store(o, ${names[i]}, ${256 + 16 * i});`);
  const bytes = f.super ? qBytes(f) : blockBytes(f);
  return `
function first_${name}_${T}(acc: usize, a: usize, stride: usize, group: usize, apart: usize, blocks: i32, out: usize): void {
  ${list(T, (t) => `let a${t} = a + ${t} * stride; let s${t}: v128, u${t}: v128; `)}
  ${locals(way, f)} let q: usize;
  let seen = 0;
  const first = acc;
  const last = acc + ${STREAMS * 32 * T};
  const end = a + <usize>blocks * ${tokenBytes(way)};
  let o = out;${
    f.super
      ? `
  q = group;
  for (let i = 0; i < STREAMS; i++, o += ${size}, q += apart) scales_${name}(o + 256, ${STREAMS * size}, q);
  group += ${header(f)};
  o = out;`
      : ''
  }
  for (; a0 < end; group += ${bytes}) {${touches(bytes)}
      for (acc = first; acc < last; acc += ${32 * T}, q += apart, o += ${size}) {
        ${lines.join('\n        ')}${keepScales}
      }
      ${list(T, (t) => `a${t} += ${tokenBytes(way)}; `)}
  }
  i32.store(SEEN, seen); // or the compiler leaves the reads out
}`;
}

/** Another tile, from unpacked rows [blocks][STREAMS]. */
function restTile(f, T) {
  const way = ways.dot;
  const size = unpacked(f);
  const lines = products(f, way, T, (i, h) => `v128.load(rows, ${32 * i + 16 * h})`, storedScales(f, 'rows', 256));
  return `
function rest_${shapeOf(f)}_${T}(acc: usize, a: usize, stride: usize, rows: usize, blocks: i32): void {
  ${list(T, (t) => `let a${t} = a + ${t} * stride; let s${t}: v128, u${t}: v128; `)}
  ${locals(way, f)}
  const first = acc;
  const last = acc + ${STREAMS * 32 * T};
  for (const end = rows + <usize>blocks * ${STREAMS * size}; rows < end; ) {
    for (acc = first; acc < last; acc += ${32 * T}, rows += ${size}) {
      ${lines.join('\n      ')}
    }
    ${list(T, (t) => `a${t} += ${tokenBytes(way)}; `)}
  }
}`;
}

const rest = (f) => `${REST.map((T) => restTile(f, T)).join('\n')}
@inline
function rest_${shapeOf(f)}(T: i32, acc: usize, a: usize, stride: usize, rows: usize, blocks: i32): void {
          ${choose(REST, (T) => `rest_${shapeOf(f)}_${T}(acc, a, stride, rows, blocks)`)}
}`;

/** Tiles that unpack in registers: all tokens of a call, or the first of more. */
const FEW = [4, 3, 2, 1];
const FIRST = [4, 3];
/** Tiles that come after: 5 tokens are 3 and 2, 6 twice 3. */
const REST = [4, 3, 2];
/**
 * Groups of rows that go on together, each in other pages of memory: the core reads ahead in every one of them, and the lines that it has not yet
 * are asked for at once, so that it waits less often. It tells streams apart by the instructions that read them: the reads ahead are written out.
 */
const STREAMS = 8;
/** Blocks of all groups that are unpacked at a time for the tiles after the first: at most 25 KB. */
const step = (f) => (f.super ? 8 : 2);

/** Calls the function of a tile of T tokens, of `sizes`. */
const choose = (sizes, call) =>
  sizes.map((T, i) => `${i ? 'else ' : ''}${i < sizes.length - 1 ? `if (T == ${T}) ` : ''}${call(T)};`).join('\n          ');

const together = (
  name,
  f,
) => `${[...FEW.map((T) => fewTile(name, f, T)), ...FIRST.map((T) => firstTile(name, f, T))].join('\n')}${takesUnsigned(f) ? fewTile(name, f, 1, true) : ''}
/** Rows [from, to), which are a multiple of 8 · STREAMS, for all tokens; their sums, by tiles, are at acc [STREAMS][T][8]. */
function together_${name}(y: usize, a: usize, q: usize, tokens: i32, N: i32, blocks: i32, from: i32, to: i32, bias: usize, accumulate: bool, scratch: usize, acc: usize): void {
  const stride = <usize>blocks * ${tokenBytes(ways.dot)};
  const group = <usize>(${f.super ? 'blocks >> 3' : 'blocks'}) * ${blockBytes(f)};
  const rows = (to - from) / STREAMS;
  const apart = <usize>(rows >> 3) * group;
  for (const end = from + rows; from < end; from += 8, q += group) {
    memory.fill(acc, 0, <usize>tokens * (STREAMS << 5));
    let T = tokens;
    ${takesUnsigned(f) ? `if (tokens == 1 && DOT_ADD == 129540) few_${name}_1u(acc, a, stride, q, apart, blocks, scratch);\n    else ` : ''}if (tokens <= 4) {
          ${choose(FEW, (T) => `few_${name}_${T}(acc, a, stride, q, apart, blocks, scratch)`)}
    } else {
      let x = a;
      let part = q;
      for (let b = 0; b < blocks; b += ${step(f)}, x += ${step(f) * tokenBytes(ways.dot)}, part += ${f.super ? blockBytes(f) : step(f) * blockBytes(f)}) {
        const count = min(${step(f)}, blocks - b);
        for (let t = 0; t < tokens; t += T) {
          T = tileOf(tokens - t);
          const sums = acc + <usize>t * (STREAMS << 5);
          if (t > 0) rest_${shapeOf(f)}(T, sums, x + <usize>t * stride, stride, scratch, count);
          else ${choose(FIRST, (T) => `first_${name}_${T}(sums, x, stride, part, apart, count, scratch)`)}
        }
      }
    }
    for (let t = 0; t < tokens; t += T) {
      T = tileOf(tokens - t);
      const out = y + ((<usize>t * <usize>N) << 2);
      const sums = acc + <usize>t * (STREAMS << 5);
      for (let i = 0; i < STREAMS; i++) finishTile(out, sums + (<usize>(i * T) << 5), T, from + i * rows, N, bias, accumulate);
    }
  }
}`;

const TILES = [4, 3, 2, 1];

/** All tokens of a call on unpacked rows. */
function tiles(wayName, f) {
  const name = `${wayName}_${shapeOf(f)}`;
  return `${TILES.map((T) => tile(wayName, f, T)).join('\n')}
function tiles_${name}(acc: usize, a: usize, stride: usize, rows: usize, tokens: i32, blocks: i32): void {
  let t = tokens;
  for (; t > 4; t -= 4, a += 4 * stride, acc += 128) tile_${name}_4(acc, a, stride, rows, blocks);
  if (t == 4) tile_${name}_4(acc, a, stride, rows, blocks);
  else if (t == 3) tile_${name}_3(acc, a, stride, rows, blocks);
  else if (t == 2) tile_${name}_2(acc, a, stride, rows, blocks);
  else tile_${name}_1(acc, a, stride, rows, blocks);
}`;
}

/** Tokens as a format's products want them. */
const prepare = (way, name, f) => `
export function ${way}_tokens_${name}(out: usize, act: usize, tokens: i32, blocks: i32): void {
  ${way === 'dot' ? 'prepareDot' : 'preparePair'}(out, act, tokens, blocks, ${f.zero}, ${parts(f)}, ${f.min});
}`;

/** Rows [from, to) for all tokens: by dot-add 64 together; others, and those left, 8 at a time, columns in chunks whose unpacked rows stay in the first-level cache. */
function many(wayName, name, f) {
  const way = ways[wayName];
  const step = f.super ? `(b >> 3) * ${blockBytes(f)}` : `b * ${blockBytes(f)}`;
  return `
export function ${wayName}_${name}(y: usize, a: usize, matrix: usize, tokens: i32, N: i32, K: i32, from: i32, to: i32, bias: usize, accumulate: bool, rows: usize, acc: usize): void {
  const blocks = K >> 5;
  const stride = <usize>blocks * ${tokenBytes(way)};
  const group = <usize>(${f.super ? 'blocks >> 3' : 'blocks'}) * ${blockBytes(f)};
  let q = matrix + <usize>(from >> 3) * group;${
    wayName === 'dot'
      ? `
  const whole = (to - from) & -(8 * STREAMS);
  together_${name}(y, a, q, tokens, N, blocks, from, from + whole, bias, accumulate, rows, acc);
  from += whole;
  q += <usize>(whole >> 3) * group;`
      : ''
  }
  for (let n = from; n < to; n += 8, q += group) {
    memory.fill(acc, 0, <usize>tokens << 5);
    for (let b = 0; b < blocks; b += CHUNK) {
      const count = min(CHUNK, blocks - b);
      unpack_${name}(rows, q + <usize>(${step}), count);
      tiles_${wayName}_${shapeOf(f)}(acc, a + <usize>b * ${tokenBytes(way)}, stride, rows, tokens, count);
    }
    finishTile(y, acc, tokens, n, N, bias, accumulate);
  }
}`;
}

/** acc[M, n .. n + 8) over whole blocks, for the tensor unit: the sums of \`many\` go on from acc and back to it. */
function unit(way, name, f) {
  const { values } = ways[way];
  const token = values + 16;
  return `
function unit_${way}_${name}(acc: usize, ldc: usize, act: usize, lda: usize, matrix: usize, M: i32, K: i32, from: i32, to: i32, scratch: usize): void {
  const blocks = K >> 5;
  const stride = <usize>blocks * ${token};
  const group = <usize>(${f.super ? 'blocks >> 3' : 'blocks'}) * ${blockBytes(f)};
  const rows = scratch + UNIT_TOKENS * 32;
  const a = rows + CHUNK * 384;
  const most = max(1, min(UNIT_TOKENS, (UNIT_SCRATCH - CHUNK * 384) / <i32>stride & ~3));
  for (let m = 0; m < M; m += most) {
    const tokens = min(most, M - m);
    for (let t = 0; t < tokens; t++) ${way}_tokens_${name}(a + <usize>t * stride, act + <usize>(m + t) * lda, 1, blocks);
    for (let n = from; n < to; n += 8) {
      const q = matrix + <usize>(n >> 3) * group;
      const column = acc + <usize>m * ldc + (<usize>n << 2);
      for (let t = 0, p = column; t < tokens; t++, p += ldc) {
        v128.store(scratch + (<usize>t << 5), v128.load(p, 0), 0);
        v128.store(scratch + (<usize>t << 5), v128.load(p, 16), 16);
      }
      for (let b = 0; b < blocks; b += CHUNK) {
        const count = min(CHUNK, blocks - b);
        unpack_${name}(rows, q + <usize>(${f.super ? `(b >> 3) * ${blockBytes(f)}` : `b * ${blockBytes(f)}`}), count);
        tiles_${way}_${shapeOf(f)}(scratch, a + <usize>b * ${token}, stride, rows, tokens, count);
      }
      for (let t = 0, p = column; t < tokens; t++, p += ldc) {
        v128.store(p, v128.load(scratch + (<usize>t << 5), 0), 0);
        v128.store(p, v128.load(scratch + (<usize>t << 5), 16), 16);
      }
    }
  }
}`;
}

/** The way is chosen when the module starts. */
function unitOf(name, f, relaxed) {
  const args = 'acc, ldc, act, lda, matrix, M, K, from, to, scratch';
  return `${relaxed ? unit('dot', name, f) : ''}${unit('pair', name, f)}
export function multiply_${name}(acc: usize, ldc: usize, act: usize, lda: usize, matrix: usize, M: i32, K: i32, from: i32, to: i32, scratch: usize): void {
  ${relaxed ? `if (DOT_ADD == 129540${f.zero < 128 ? ' || DOT_ADD == -508' : ''}) unit_dot_${name}(${args});\n  else ` : ''}unit_pair_${name}(${args});
}`;
}

/** The rows of tokens as i32 or f32 values: one row of unpacked ones. */
function embed(name, f) {
  return `
export function embed_${name}(y: usize, group: usize, r: i32, K: i32, rows: usize): void {
  for (let b = 0; b < K >> 5; b += 8) {
    const count = min(8, (K >> 5) - b);
    unpack_${name}(rows, group + <usize>(${f.super ? `(b >> 3) * ${blockBytes(f)}` : `b * ${blockBytes(f)}`}), count);
    let p = rows + (<usize>r << 2);
    for (const end = p + <usize>count * ${unpacked(f)}; p < end; p += ${unpacked(f)}) {
      for (let i: usize = 0; i < 8; i++, y += 16) {
        const q = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(p + (i << 5))));
        const x = f32x4.convert_i32x4_s(i32x4.sub(q, i32x4.splat(${f.zero})));
        const sub = p + ${parts(f) === 2 ? '((i >> 2) << 5)' : '0'};
        v128.store(y, ${f.min ? `f32x4.add(f32x4.mul(x, v128.load32_splat(sub, 256)), v128.load32_splat(sub, ${256 + 32 * parts(f)}))` : 'f32x4.mul(x, v128.load32_splat(sub, 256))'});
      }
    }
  }
}`;
}

/** Columns of 32 unpacked at a time: 32 of at most 384 bytes. */
const CHUNK = 32;

/** Vectors of one byte, in memory: the compiler builds a constant with three instructions at every use. */
const MASKS = [1, 2, 3, 4, 12, 15, 16, 30, 32, 48, 128, 240];
const maskAt = (byte) => {
  if (!MASKS.includes(byte)) throw new Error(`no mask ${byte}`);
  return `v128.load(MASKS, ${16 * MASKS.indexOf(byte)})`;
};

/** The source of `generated.ts`. relaxed: with what needs relaxed SIMD. unit: for the tensor unit of the simulated accelerator. */
export function generate(relaxed, unit = false) {
  const entries = Object.entries(formats);
  const all = (write) => entries.map(([name, f]) => write(name, f));
  const used = Object.keys(ways).filter((way) => relaxed || way !== 'dot');
  const source = [
    ...all(unpack),
    ...used.flatMap((way) => [...shapes.map((f) => tiles(way, f)), ...all((name, f) => prepare(way, name, f))]),
    ...(unit
      ? all((name, f) => unitOf(name, f, relaxed))
      : [...all(embed), ...used.flatMap((way) => all((name, f) => many(way, name, f)))]),
    ...(relaxed && !unit ? [...shapes.map(rest), ...all(together)] : []),
  ].join('\n');
  return `// Written by wasm/generate.mjs.
import { dotAdd } from './dot-add';
import { finish, finishTile } from './finish';
import { HIGH_ENDS, LOW_ENDS, lookup, MAGIC, mask16, powers, prepareDot, preparePair, swizzle, TABLE_FP4, TABLE_NL } from './planes';
import { highScales, highSuper, lowScales, lowSuper } from './wide';

const CHUNK = ${CHUNK};
const UNIT_TOKENS = 64;
const STREAMS = ${STREAMS};
const UNIT_SCRATCH = 900 * 1024;
const DOT_ADD = dotAdd();
const HALVES: usize = memory.data(128, 16);
const SEEN: usize = memory.data(16, 16);
const MASKS: usize = memory.data<u8>([${MASKS.flatMap((m) => Array(16).fill(m)).join(', ')}], 16);
/** Tokens of the next tile of so many. */
@inline
function tileOf(left: i32): i32 {
  return left == 4 || left > 6 ? 4 : min(left, 3);
}
${source.replaceAll(/\bmask\((\d+)\)/g, (_, byte) => maskAt(Number(byte)))}
`;
}

/** Reads files for the compiler, src/generated.ts from here. */
export function readGenerated(relaxed, unit = false) {
  return (name, base) => {
    if (/(^|[\\/])generated\.ts$/.test(name)) return generate(relaxed, unit);
    try {
      return readFileSync(join(base, name), 'utf8');
    } catch {
      return null;
    }
  };
}
