// i32x4.relaxed_dot_i8x16_i7x16_add_s adds four products of bytes to each i32. What it gives for a second operand above 127 is up to
// the machine, and so tells how it is made: one instruction (vpdpbusd of AVX-VNNI takes it as unsigned; sdot and vpdpbssd as signed)
// or four (vpmaddubsw, which saturates, vpmaddwd, vpaddd), which are slower than what the kernels do without it.
const OPERANDS: usize = memory.data<u32>([0x7f7f7f7f, 0x7f7f7f7f, 0x7f7f7f7f, 0x7f7f7f7f, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], 16);

/** 127 · 255 four times: 129540 by vpdpbusd, 65534 by vpmaddubsw, −508 by sdot; 0 where there is no relaxed SIMD. */
export function dotAdd(): i32 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    const s = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(OPERANDS, 0), v128.load(OPERANDS, 16), i32x4.splat(0));
    return i32x4.extract_lane(s, 0);
  }
  return 0;
}
