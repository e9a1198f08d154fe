import { describe, expect, it } from 'vitest';
import { exp, f16ToF32, f32ToF16, log, pow, sincos } from '../../engine/math.ts';
import { philox, uniform } from '../../engine/random.ts';

const close = (a: number, b: number, rel: number) => expect(Math.abs(a - b)).toBeLessThanOrEqual(rel * Math.max(Math.abs(b), 1e-300));

describe('binary64 functions', () => {
  it('exp and log agree with Math to 1e-14', () => {
    for (let x = -690; x <= 690; x += 0.731) close(exp(x), Math.exp(x), 1e-14);
    for (let i = 1; i < 2000; i++) close(log(i * 0.37), Math.log(i * 0.37), 2e-14);
    expect(exp(0)).toBe(1);
    expect(log(1)).toBe(0);
    expect(Number.isNaN(exp(Number.NaN))).toBe(true);
  });

  it('sine and cosine agree with Math to 1e-14 over a million positions', () => {
    for (let x = 0; x < 1_048_000; x += 997.13) {
      const [s, c] = sincos(x);
      expect(Math.abs(s - Math.sin(x))).toBeLessThan(1e-14);
      expect(Math.abs(c - Math.cos(x))).toBeLessThan(1e-14);
    }
  });

  it('pow gives RoPE frequencies', () => {
    for (const theta of [1e4, 5e5, 1e6]) for (let i = 0; i < 64; i++) close(pow(theta, (-2 * i) / 128), theta ** ((-2 * i) / 128), 1e-13);
  });
});

describe('to the last bit', () => {
  /** FNV-1a over the bits of these numbers, 32 bits. */
  const bits = (values: readonly number[]): string => {
    let hash = 0x811c9dc5;
    for (const b of new Uint8Array(Float64Array.from(values).buffer)) hash = Math.imul(hash ^ b, 0x01000193) >>> 0;
    return hash.toString(16).padStart(8, '0');
  };
  const range = (from: number, to: number, by: number) => Array.from({ length: Math.floor((to - from) / by) }, (_, i) => from + i * by);

  it('the functions are what they were', () => {
    const one = [exp(1), exp(-1), log(2), log(10), pow(10, 0.5), ...sincos(1)];
    expect(one).toEqual([
      2.7182818284590455,
      0.36787944117144233,
      Math.LN2,
      Math.LN10,
      3.1622776601683795,
      0.8414709848078965,
      0.5403023058681398,
    ]);
    expect(bits(range(-720, 720, 0.377).map(exp))).toBe('94d90a5e');
    expect(bits(range(1e-3, 40, 0.0137).map(log))).toBe('9a604932');
    expect(bits([...range(-7, 7, 0.0173), ...range(1e5, 1.04e6, 977.7)].flatMap(sincos))).toBe('d3d38303');
    expect(bits(range(0, 64, 1).map((i) => pow(1e6, (-2 * i) / 128)))).toBe('e206ef96');
  });

  it('they end where they are said to', () => {
    expect([exp(700), exp(-700)]).toEqual([exp(701), exp(-701)]);
    expect([exp(699.9) < exp(700), exp(-699.9) > exp(-700), exp(Infinity) === exp(700)]).toEqual([true, true, true]);
    expect([log(0), log(-0), log(-1), log(Number.NaN), log(Infinity)]).toEqual([-Infinity, -Infinity, Number.NaN, Number.NaN, Infinity]);
    expect([log(Math.SQRT2), log(Math.SQRT1_2), log(2 ** -1074)].map((x) => Number.isFinite(x))).toEqual([true, true, true]);
    expect(sincos(0)).toEqual([0, 1]);
  });
});

describe('binary16', () => {
  it('of what is no number, and beyond its range', () => {
    expect([0x7c00, 0xfc00, 0x7c01, 0xffff, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400].map(f16ToF32)).toEqual([
      ...[Infinity, -Infinity, Number.NaN, Number.NaN, -0, 2 ** -24, -(2 ** -24), 1023 * 2 ** -24, 2 ** -14],
    ]);
    const cases: [number, number][] = [
      ...([
        [Number.NaN, 0x7e00],
        [Infinity, 0x7c00],
        [-Infinity, 0xfc00],
        [1e9, 0x7c00],
        [-65520, 0xfc00],
        [65519.996, 0x7bff],
      ] as [number, number][]),
      ...([
        [-0, 0x8000],
        [2 ** -14, 0x0400],
        [2 ** -14 - 2 ** -25, 0x0400],
        [2 ** -14 - 2 ** -24, 0x03ff],
      ] as [number, number][]),
      ...([
        [1.5 * 2 ** -24, 2],
        [2.5 * 2 ** -24, 2],
        [2.500001 * 2 ** -24, 3],
        [0.499 * 2 ** -24, 0],
        [0.501 * 2 ** -24, 1],
      ] as [number, number][]),
      [1e-30, 0],
    ];
    expect(cases.map(([x]) => [x, f32ToF16(x)])).toEqual(cases);
  });

  it('every finite value survives a round trip', () => {
    for (let h = 0; h < 65536; h++) {
      if (((h >> 10) & 31) === 31) continue;
      expect(f32ToF16(f16ToF32(h))).toBe(h);
    }
  });

  it('rounds to nearest, ties to even', () => {
    expect(f32ToF16(1 + 2 ** -11)).toBe(f32ToF16(1)); // tie, down to even
    expect(f32ToF16(1 + 3 * 2 ** -11)).toBe(f32ToF16(1 + 2 ** -9)); // tie, up to even
    expect(f32ToF16(65519)).toBe(f32ToF16(65504));
    expect(f32ToF16(65520)).toBe(0x7c00);
    expect(f32ToF16(2 ** -25)).toBe(0);
    expect(f32ToF16(-(2 ** -24))).toBe(0x8001);
  });
});

describe('Philox 4x32-10', () => {
  it("gives Random123's known answers", () => {
    const hex = (v: number[]) => v.map((x) => x.toString(16).padStart(8, '0')).join(' ');
    expect(hex(philox([0, 0], [0, 0, 0, 0]))).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8');
    const f = 0xffffffff;
    expect(hex(philox([f, f], [f, f, f, f]))).toBe('408f276d 41c83b0e a20bc7c6 6d5451fd');
    expect(hex(philox([0xa4093822, 0x299f31d0], [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]))).toBe(
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    );
  });

  it('draws are uniform and depend on seed and index', () => {
    const draws = Array.from({ length: 4000 }, (_, i) => uniform([7, 1], i));
    expect(Math.abs(draws.reduce((a, b) => a + b) / 4000 - 0.5)).toBeLessThan(0.02);
    expect(Math.min(...draws)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...draws)).toBeLessThan(1);
    expect(uniform([7, 1], 3)).toBe(draws[3]);
    expect(uniform([8, 1], 3)).not.toBe(draws[3]);
  });
});
