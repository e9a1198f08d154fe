// Vector constants in memory. The optimizing compiler builds a v128.const with three instructions at every use, even
// in loops; a load is one.

const TABLE: usize = memory.data<u32>(
  [
    0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, // nibbles of bytes
    0x000f000f, 0x000f000f, 0x000f000f, 0x000f000f, // nibbles of i16
    0x00010001, 0x00010001, 0x00010001, 0x00010001, // i16 ones
    0x8fffe000, 0x8fffe000, 0x8fffe000, 0x8fffe000, // sign and magnitude of an f16, sign-extended and shifted left by 13
    0x77800000, 0x77800000, 0x77800000, 0x77800000, // 2¹¹²
  ],
  16,
);

@inline
export function nibbles8(): v128 {
  return v128.load(TABLE, 0);
}

@inline
export function nibbles16(): v128 {
  return v128.load(TABLE, 16);
}

@inline
export function ones16(): v128 {
  return v128.load(TABLE, 32);
}

@inline
export function f16Bits(): v128 {
  return v128.load(TABLE, 48);
}

@inline
export function f16Lift(): v128 {
  return v128.load(TABLE, 64);
}
