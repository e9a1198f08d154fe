// Vector constants in memory. The optimizing compiler builds a v128.const with three instructions at every use, even
// in loops; a load is one, and loads of one constant with no store between them become one.

const INTEGERS: usize = memory.data<u32>(
  [
    0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, // nibbles of bytes
    0x000f000f, 0x000f000f, 0x000f000f, 0x000f000f, // nibbles of i16
    0x00010001, 0x00010001, 0x00010001, 0x00010001, // i16 ones
    0x8fffe000, 0x8fffe000, 0x8fffe000, 0x8fffe000, // sign and magnitude of an f16, sign-extended and shifted left by 13
    0x77800000, 0x77800000, 0x77800000, 0x77800000, // 2¹¹²
    0x4b400000, 0x4b400000, 0x4b400000, 0x4b400000, // 1.5 · 2²³: adding it leaves the nearest integer, ties to even, in the low bits
    0x3f800000, 0x3f800000, 0x3f800000, 0x3f800000, // 1, whose bits are 127 << 23
    0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff, // all but the sign
  ],
  16,
);

@inline
export function nibbles8(): v128 {
  return v128.load(INTEGERS, 0);
}

@inline
export function nibbles16(): v128 {
  return v128.load(INTEGERS, 16);
}

@inline
export function ones16(): v128 {
  return v128.load(INTEGERS, 32);
}

@inline
export function f16Bits(): v128 {
  return v128.load(INTEGERS, 48);
}

@inline
export function f16Lift(): v128 {
  return v128.load(INTEGERS, 64);
}

@inline
export function roundBits(): v128 {
  return v128.load(INTEGERS, 80);
}

@inline
export function one(): v128 {
  return v128.load(INTEGERS, 96);
}

@inline
export function magnitude(): v128 {
  return v128.load(INTEGERS, 112);
}

// Of exp: log₂e, ln 2 in two parts, the polynomial from its highest power down, the clamp.
export const EXP: usize = memory.data<f32>(
  [
    1.44269504088896341, 1.44269504088896341, 1.44269504088896341, 1.44269504088896341,
    0.693359375, 0.693359375, 0.693359375, 0.693359375,
    -2.12194440e-4, -2.12194440e-4, -2.12194440e-4, -2.12194440e-4,
    1.9875691500e-4, 1.9875691500e-4, 1.9875691500e-4, 1.9875691500e-4,
    1.3981999507e-3, 1.3981999507e-3, 1.3981999507e-3, 1.3981999507e-3,
    8.3334519073e-3, 8.3334519073e-3, 8.3334519073e-3, 8.3334519073e-3,
    4.1665795894e-2, 4.1665795894e-2, 4.1665795894e-2, 4.1665795894e-2,
    1.6666665459e-1, 1.6666665459e-1, 1.6666665459e-1, 1.6666665459e-1,
    5.0000001201e-1, 5.0000001201e-1, 5.0000001201e-1, 5.0000001201e-1,
    -87.33, -87.33, -87.33, -87.33,
    88.37, 88.37, 88.37, 88.37,
  ],
  16,
);
