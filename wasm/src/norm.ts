// RMSNorm, and quantization of its rows when the activations are i8.
import { quantizeRow } from './act';
import { lane4Sum } from './numeric';

/** 1 / sqrt(mean square + eps) of D values (a multiple of 4). */
@inline
function inverseRms(x: usize, D: i32, eps: f32): f32 {
  let s = f32x4.splat(0);
  for (let p = x, end = x + (<usize>D << 2); p < end; p += 16) {
    const v = v128.load(p);
    s = f32x4.add(s, f32x4.mul(v, v));
  }
  return <f32>1 / sqrt<f32>(lane4Sum(s) / <f32>D + eps);
}

/** y = RMSNorm(x) · g; y may be x. */
export function rmsNorm(y: usize, x: usize, g: usize, D: i32, eps: f32): void {
  const r = f32x4.splat(inverseRms(x, D, eps));
  for (const end = x + (<usize>D << 2); x < end; x += 16, g += 16, y += 16) {
    v128.store(y, f32x4.mul(f32x4.mul(v128.load(x), r), v128.load(g)));
  }
}

/** Rows i in [from, to): out[i] = RMSNorm(x[rows ? rows[i] : i]) · g, as f32 or (quantized) i8 through `scratch` f32 [D]. */
export function norm(out: usize, stride: usize, quantized: bool, x: usize, g: usize, rows: usize, from: i32, to: i32, D: i32, eps: f32, scratch: usize): void {
  for (let i = from; i < to; i++) {
    const row = rows ? load<u32>(rows + (<usize>i << 2)) : <u32>i;
    const y = out + <usize>i * stride;
    rmsNorm(quantized ? scratch : y, x + (<usize>row * <usize>D << 2), g, D, eps);
    if (quantized) quantizeRow(y, scratch, D);
  }
}

/** Rows [from, to): x += RMSNorm(y) · g. */
export function addNorm(x: usize, y: usize, g: usize, from: i32, to: i32, D: i32, eps: f32): void {
  const row = <usize>D << 2;
  for (let i = from; i < to; i++) {
    let to = x + <usize>i * row;
    let p = y + <usize>i * row;
    const r = f32x4.splat(inverseRms(p, D, eps));
    let gain = g;
    for (const end = p + row; p < end; p += 16, gain += 16, to += 16) {
      v128.store(to, f32x4.add(v128.load(to), f32x4.mul(f32x4.mul(v128.load(p), r), v128.load(gain))));
    }
  }
}
