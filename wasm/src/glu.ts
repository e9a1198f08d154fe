// silu(gate) · up or gelu(gate) · up, and quantization of the rows when the activations are i8.
//
// The ladder, 128 tokens × 30 layers × 1,536, milliseconds: 1  constants in the code 19   2  from memory, 8 values a turn 12
import { quantizeRow } from './act';
import { one } from './constants';
import { exp4 } from './numeric';

@inline
function silu4(g: v128): v128 {
  return f32x4.mul(g, f32x4.div(one(), f32x4.add(one(), exp4(f32x4.neg(g)))));
}

/** x · sigmoid(x · (a + b · x²)): gelu with tanh, where a = 2 · √(2 / π) and b = 0.044715 · a. */
@inline
function gelu4(x: v128): v128 {
  const u = f32x4.mul(x, f32x4.add(f32x4.splat(1.5957691216057308), f32x4.mul(f32x4.splat(0.07135481627159), f32x4.mul(x, x))));
  return f32x4.mul(x, f32x4.div(one(), f32x4.add(one(), exp4(f32x4.neg(u)))));
}

/** Tokens [from, to) of gateUp[T, 2F], F a multiple of 4, through `scratch` f32 [F] when quantized. */
export function geglu(out: usize, stride: usize, quantized: bool, gateUp: usize, from: i32, to: i32, F: i32, scratch: usize): void {
  const bytes = <usize>F << 2;
  for (let t = from; t < to; t++) {
    const row = out + <usize>t * stride;
    let y = quantized ? scratch : row;
    let gate = gateUp + <usize>t * bytes * 2;
    let up = gate + bytes;
    for (const end = up; gate < end; gate += 16, up += 16, y += 16) v128.store(y, f32x4.mul(gelu4(v128.load(gate)), v128.load(up)));
    if (quantized) quantizeRow(row, scratch, F);
  }
}

/** The same with silu. */
export function swiglu(out: usize, stride: usize, quantized: bool, gateUp: usize, from: i32, to: i32, F: i32, scratch: usize): void {
  const bytes = <usize>F << 2;
  for (let t = from; t < to; t++) {
    const row = out + <usize>t * stride;
    let y = quantized ? scratch : row;
    let gate = gateUp + <usize>t * bytes * 2;
    let up = gate + bytes;
    const end = up;
    for (; gate + 32 <= end; gate += 32, up += 32, y += 32) {
      const a = f32x4.mul(silu4(v128.load(gate, 0)), v128.load(up, 0));
      const b = f32x4.mul(silu4(v128.load(gate, 16)), v128.load(up, 16));
      v128.store(y, a, 0);
      v128.store(y, b, 16);
    }
    if (gate < end) v128.store(y, f32x4.mul(silu4(v128.load(gate)), v128.load(up)));
    if (quantized) quantizeRow(row, scratch, F);
  }
}
