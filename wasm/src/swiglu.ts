// silu(gate) · up, and quantization of the rows when the activations are i8.
import { quantizeRow } from './act';
import { exp4 } from './numeric';

/** Tokens [from, to) of gateUp[T, 2F], F a multiple of 4, through `scratch` f32 [F] when quantized. */
export function swiglu(out: usize, stride: usize, quantized: bool, gateUp: usize, from: i32, to: i32, F: i32, scratch: usize): void {
  const bytes = <usize>F << 2;
  for (let t = from; t < to; t++) {
    const row = out + <usize>t * stride;
    let y = quantized ? scratch : row;
    let gate = gateUp + <usize>t * bytes * 2;
    for (const end = gate + bytes; gate < end; gate += 16, y += 16) {
      const g = v128.load(gate);
      const sigmoid = f32x4.div(f32x4.splat(1), f32x4.add(f32x4.splat(1), exp4(f32x4.neg(g))));
      v128.store(y, f32x4.mul(f32x4.mul(g, sigmoid), v128.load(gate + bytes)));
    }
    if (quantized) quantizeRow(row, scratch, F);
  }
}
