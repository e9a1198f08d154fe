import { describe, expect, it } from 'vitest';
import { unpackWeight } from '../../engine/formats.ts';
import { f16ToF32, f32ToF16 } from '../../engine/math.ts';
import { philox } from '../../engine/random.ts';
import { ModelFileError } from '../../models/error.ts';
import { type Format, formatOf, Loss, packedPieces } from '../../models/quantize/convert.ts';
import { dequantize, fromQ4_0, fromQ8_0, type Quantized, quantizeRtn, toQ4_0, toQ8_0 } from '../../models/quantize/rtn.ts';
import type { ModelTensor, Part } from '../../models/tensors.ts';

/** Seeded, roughly normal. */
function normal(seed: number, n: number, scale = 1): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => {
    const r = philox([seed, 0], [i, 0, 0, 0]);
    return (scale * (r[0] + r[1] + r[2] + r[3] - 2 ** 33)) / 2 ** 32;
  });
}

function part(type: string, rows: number, K: number, bytes: Uint8Array, name = 'x'): Part {
  const row = bytes.length / rows;
  return { name, type, rows, K, read: async (from, to) => bytes.slice(from * row, to * row) };
}

const matrix = (parts: Part[]): ModelTensor => ({
  ...{ name: 'layers.0.o', kind: 'o', layer: 0 },
  vector: false,
  N: parts.reduce((n, p) => n + p.rows, 0),
  K: parts[0].K,
  parts,
});

async function packed(t: ModelTensor, format: 'f32' | 'w8' | 'w4', loss?: Loss): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const p of packedPieces(t, format, loss)) pieces.push(p);
  return new Uint8Array(Buffer.concat(pieces));
}

describe('round to nearest', () => {
  it('w4 takes the element of largest magnitude over -8 as its scale', () => {
    const x = new Float32Array(32).fill(0.01);
    x[5] = -4;
    x[6] = 3.6;
    const { q, d } = quantizeRtn('w4', x);
    expect(f16ToF32(d[0])).toBe(0.5);
    expect([q[5], q[6], q[0]]).toEqual([0, 15, 8]);
    const positive = quantizeRtn(
      'w4',
      x.map((v) => -v),
    );
    expect(f16ToF32(positive.d[0])).toBe(-0.5);
    expect([positive.q[5], positive.q[6]]).toEqual([0, 15]);
  });

  it('w8 reaches 127, never -128', () => {
    const x = normal(3, 32 * 64);
    const { q, d } = quantizeRtn('w8', x);
    for (let b = 0; b < 64; b++) {
      const block = x.subarray(b * 32, b * 32 + 32);
      const amax = Math.max(...block.map(Math.abs));
      expect(d[b]).toBe(f32ToF16(amax / 127));
      const largest = Math.max(...q.subarray(b * 32, b * 32 + 32).map(Math.abs));
      expect(largest).toBe(127);
    }
  });

  it('gives back q and d of values that are quantized already, in f32 and in f16', () => {
    for (const format of ['w4', 'w8'] as const) {
      const first = quantizeRtn(format, normal(5, 32 * 500, 0.02));
      const values = dequantize(format, first);
      expect(quantizeRtn(format, values)).toEqual(first);
      if (format === 'w4')
        expect(
          quantizeRtn(
            format,
            values.map((v) => f16ToF32(f32ToF16(v))),
          ),
        ).toEqual(first);
    }
  });

  it('stays within half a step, and keeps blocks of zeros', () => {
    const x = normal(9, 32 * 200);
    x.fill(0, 0, 32);
    for (const format of ['w4', 'w8'] as const) {
      const quantized = quantizeRtn(format, x);
      const back = dequantize(format, quantized);
      expect([...back.subarray(0, 32)].every((v) => v === 0)).toBe(true);
      x.forEach((v, i) => {
        const step = Math.abs(f16ToF32(quantized.d[i >> 5]));
        // w4's range is lopsided: the far end is up to one step short
        expect(Math.abs(v - back[i])).toBeLessThanOrEqual(step * (format === 'w4' ? 1.001 : 0.51));
      });
    }
  });

  it('refuses what no scale can hold', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 1e9]) {
      const x = new Float32Array(32);
      x[7] = bad;
      expect(() => quantizeRtn('w4', x)).toThrow(RangeError);
      expect(() => quantizeRtn('w8', x)).toThrow(RangeError);
    }
  });
});

describe('blocks of GGUF', () => {
  const randomBytes = (seed: number, n: number) => Uint8Array.from({ length: n }, (_, i) => philox([seed, 1], [i, 0, 0, 0])[0] & 255);
  /** Random blocks with finite scales. */
  function blocks(seed: number, count: number, size: number): Uint8Array {
    const bytes = randomBytes(seed, count * size);
    for (let b = 0; b < count; b++) bytes[b * size + 1] &= 0xbf;
    return bytes;
  }

  it('Q4_0 and Q8_0 come back byte for byte', () => {
    const q4 = blocks(1, 300, 18);
    expect(toQ4_0(fromQ4_0(q4))).toEqual(q4);
    const q8 = blocks(2, 300, 34);
    expect(toQ8_0(fromQ8_0(q8))).toEqual(q8);
  });

  it('go through kernel layout byte for byte, with no loss, rows joined from three parts', async () => {
    const K = 96;
    const unpack = { w4: (q: Quantized) => toQ4_0(q), w8: (q: Quantized) => toQ8_0(q) };
    for (const [format, type, size] of [
      ['w4', 'Q4_0', 18],
      ['w8', 'Q8_0', 34],
    ] as const) {
      const bytes = [44, 4, 6].map((rows, i) => blocks(10 + i, (rows * K) / 32, size));
      const t = matrix([44, 4, 6].map((rows, i) => part(type, rows, K, bytes[i])));
      const loss = new Loss();
      const out = unpackWeight(format, 54, K, await packed(t, format, loss));
      expect(unpack[format](out as Quantized)).toEqual(new Uint8Array(Buffer.concat(bytes)));
      expect(loss.relative).toBe(0);
    }
  });

  it('refuses scales that are not finite, naming the tensor', async () => {
    const q4 = blocks(4, 4, 18);
    q4[1] = 0x7c;
    await expect(packed(matrix([part('Q4_0', 4, 32, q4)]), 'w4')).rejects.toThrow(ModelFileError);
  });
});

describe('requantizing', () => {
  it('reports the relative RMS error', async () => {
    const x = normal(21, 64 * 96);
    const t = matrix([part('F32', 64, 96, new Uint8Array(x.buffer))]);
    for (const [format, low, high] of [
      ['w4', 0.05, 0.12],
      ['w8', 0.002, 0.01],
    ] as const) {
      const loss = new Loss();
      const back = dequantize(format, unpackWeight(format, 64, 96, await packed(t, format, loss)) as Quantized);
      let error = 0;
      let power = 0;
      x.forEach((v, i) => {
        error += (v - back[i]) ** 2;
        power += v * v;
      });
      expect(loss.relative).toBeCloseTo(Math.sqrt(error / power), 10);
      expect(loss.relative).toBeGreaterThan(low);
      expect(loss.relative).toBeLessThan(high);
    }
  });

  it('chooses formats per tensor', () => {
    const t = (type: string, K = 256) => matrix([part(type, 4, K, new Uint8Array(0))]);
    const auto = (type: string, K?: number) => formatOf(t(type, K), 'auto');
    expect(['F32', 'F16', 'BF16', 'Q4_0', 'Q4_1', 'Q4_K', 'Q5_K', 'Q6_K', 'Q8_0'].map((x) => auto(x))).toEqual(
      'f32 w8 w8 w4 q4_1 q4_k q5_k q6_k w8'.split(' '),
    );
    expect(auto('Q8_0', 40)).toBe('f32');
    expect(formatOf({ ...t('F32'), vector: true }, 'w4' satisfies Format)).toBe('f32');
  });
});
