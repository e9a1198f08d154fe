/**
 * Paged attention on a tile: `attendStart` quantizes the queries, `attend` takes a run of pages into the running state
 * (online softmax, one rescale a page), `attendEnd` divides and stores. Row r of the state is
 * (token, kv head of the group, query head of that kv head), in this order, as q and the output lie in memory.
 */
import { PAGE } from '../../engine/layout.ts';
import { exp, f, inverseScale, max, quantize, rne } from '../../kernels/reference/numeric.ts';
import { SCRATCH, type TileKernels } from '../run/kernels.ts';
import type { Sram } from '../run/memory.ts';
import { type Params, storeRow } from './rows.ts';

/** Bytes of the state: qi i16 [M, d], qσ f32 [M], m f32 [M], l f32 [M], o f32 [M, d]. */
export const attendStateBytes = (M: number, d: number): number => align(M * d * 2) + 3 * M * 4 + M * d * 4;
const align = (n: number): number => Math.ceil(n / 4) * 4;

function stateAt(p: Params) {
  const qs = (p.state + align(p.M * p.d * 2)) >> 2;
  return { qi: p.state >> 1, qs, m: qs + p.M, l: qs + 2 * p.M, o: qs + 3 * p.M };
}

/** Queries f32 [M, d] at q into the state; sum and output to zero, maximum to −inf. */
export function attendStart(s: Sram, p: Params): void {
  const { M, d } = p;
  const at = stateAt(p);
  if (s.kernels && !p.f32) {
    const b = s.base;
    s.kernels.attendStart(b + p.q, M, d, p.sigma, b + at.qi * 2, b + at.qs * 4, b + at.m * 4, b + at.l * 4, b + at.o * 4);
    return;
  }
  const sigma = f(p.sigma);
  for (let r = 0; r < M; r++) {
    const q = s.f32.subarray((p.q >> 2) + r * d, (p.q >> 2) + (r + 1) * d);
    s.f32[at.qs + r] = p.f32 ? sigma : f(quantize(s.i16.subarray(at.qi + r * d, at.qi + (r + 1) * d), q, 32767) * sigma);
  }
  s.f32.fill(-Infinity, at.m, at.m + M);
  s.f32.fill(0, at.l, at.l + M);
  s.f32.fill(0, at.o, at.o + M * d);
}

const score = new Float32Array(PAGE);
const weight = new Float32Array(PAGE);
const whole = new Int32Array(PAGE);
const sums = new Int32Array(256);
const lanes = new Float32Array(4);

/** Pages `first` .. first + pages of the sequence, each [kv heads of the group] of headBytes, for every row; token t sees the last `window` of positions 0..pos[t]. */
export function attend(s: Sram, p: Params): void {
  const { d, groups, perGroup, tokens } = p;
  if (s.kernels && !p.f32) {
    attendInWasm(s, s.kernels, p);
    return;
  }
  for (let i = 0; i < p.pages; i++) {
    for (let t = 0; t < tokens; t++) {
      const n = Math.min(PAGE, s.u32[(p.pos >> 2) + t] + 1 - (p.first + i) * PAGE);
      const lo = Math.max(0, s.u32[(p.pos >> 2) + t] + 1 - p.window - (p.first + i) * PAGE);
      if (n <= lo) continue;
      for (let g = 0; g < groups; g++) {
        const page = p.at + (i * groups + g) * p.headBytes;
        for (let h = 0; h < perGroup; h++) {
          const r = (t * groups + g) * perGroup + h;
          if (p.f32) pageF32(s, p, page, r, lo, n, d);
          else pageI8(s, p, page, r, lo, n, d);
        }
      }
    }
  }
}

/** Multiply-adds a call (run/multiply.ts). */
const CALL_MACS = 1 << 21;

function attendInWasm(s: Sram, k: TileKernels, p: Params): void {
  const { d, groups, perGroup, tokens } = p;
  const at = stateAt(p);
  const b = s.base;
  const step = Math.max(1, Math.floor(CALL_MACS / (2 * p.pages * PAGE * groups * perGroup * d)));
  for (let t = 0; t < tokens; t += step) {
    const range = [b + p.pos, t, Math.min(tokens, t + step)] as const;
    const state = [b + at.qi * 2, b + at.qs * 4, b + at.m * 4, b + at.l * 4, b + at.o * 4] as const;
    k.attendI8(b + p.at, p.headBytes, p.pages, p.first, ...range, groups, perGroup, d, ...state, SCRATCH, p.window);
  }
}

/** Takes score[lo..n) into m and l, weights into `weight`; returns the factor for o. */
function soften(s: Sram, m: number, l: number, lo: number, n: number): number {
  const before = s.f32[m];
  let top = before;
  for (let j = lo; j < n; j++) top = max(top, score[j]);
  const c = before === -Infinity ? 0 : exp(f(before - top));
  lanes.fill(0);
  for (let j = 0; j < PAGE; j++) {
    weight[j] = j >= lo && j < n ? exp(f(score[j] - top)) : 0;
    lanes[j & 3] += weight[j];
  }
  s.f32[l] = f(f(s.f32[l] * c) + f(f(lanes[0] + lanes[1]) + f(lanes[2] + lanes[3])));
  s.f32[m] = top;
  return c;
}

function pageI8(s: Sram, p: Params, page: number, r: number, lo: number, n: number, d: number): void {
  const at = stateAt(p);
  const qi = at.qi + r * d;
  const qs = s.f32[at.qs + r];
  const scales = (page + 2 * PAGE * d) >> 2;
  const { i8, i16, f32 } = s;
  sums.fill(0, 0, PAGE);
  for (let k = 0; k < d; k += 2) {
    const a = i16[qi + k];
    const b = i16[qi + k + 1];
    const row = page + k * PAGE;
    for (let j = 0; j < n; j++) sums[j] += a * i8[row + 2 * j] + b * i8[row + 2 * j + 1];
  }
  for (let j = 0; j < n; j++) score[j] = f(f(sums[j]) * f(qs * f32[scales + j]));
  const c = soften(s, at.m + r, at.l + r, lo, n);
  let wmax = 0;
  for (let j = 0; j < n; j++) {
    weight[j] = f(weight[j] * f32[scales + PAGE + j]);
    wmax = max(wmax, weight[j]);
  }
  const inverse = inverseScale(32767, wmax);
  for (let j = 0; j < PAGE; j++) whole[j] = j < n ? rne(f(weight[j] * inverse)) : 0;
  const scale = f(wmax / 32767);
  sums.fill(0, 0, d);
  for (let j = 0; j < n; j += 2) {
    const a = whole[j];
    const b = whole[j + 1];
    const row = page + PAGE * d + j * d;
    for (let k = 0; k < d; k++) sums[k] += a * i8[row + 2 * k] + b * i8[row + 2 * k + 1];
  }
  const o = at.o + r * d;
  for (let k = 0; k < d; k++) f32[o + k] = f(f(f32[o + k] * c) + f(f(sums[k]) * scale));
}

function pageF32(s: Sram, p: Params, page: number, r: number, lo: number, n: number, d: number): void {
  const at = stateAt(p);
  const q = (p.q >> 2) + r * d;
  const keys = page >> 2;
  const values = keys + d * PAGE;
  const { f32 } = s;
  for (let j = 0; j < n; j++) {
    let dot = 0;
    for (let k = 0; k < d; k++) dot = f(dot + f(f32[q + k] * f32[keys + k * PAGE + j]));
    score[j] = f(dot * f32[at.qs + r]);
  }
  const c = soften(s, at.m + r, at.l + r, lo, n);
  const o = at.o + r * d;
  for (let k = 0; k < d; k++) {
    let v = f(f32[o + k] * c);
    for (let j = lo; j < n; j++) v = f(v + f(weight[j] * f32[values + j * d + k]));
    f32[o + k] = v;
  }
}

/** out[tokens, groups · perGroup · d] = o / l, quantized with `quant`. */
export function attendEnd(s: Sram, p: Params): void {
  const at = stateAt(p);
  const width = p.groups * p.perGroup;
  if (s.kernels) {
    s.kernels.attendEnd(s.base + p.out, p.ldo, p.quant, p.tokens, width, p.d, s.base + at.l * 4, s.base + at.o * 4, SCRATCH);
    return;
  }
  const y = new Float32Array(width * p.d);
  for (let t = 0; t < p.tokens; t++) {
    for (let h = 0; h < width; h++) {
      const r = t * width + h;
      const inverse = f(1 / s.f32[at.l + r]);
      for (let k = 0; k < p.d; k++) y[h * p.d + k] = f(s.f32[at.o + r * p.d + k] * inverse);
    }
    storeRow(s, y, p.out + t * p.ldo, p.quant);
  }
}
