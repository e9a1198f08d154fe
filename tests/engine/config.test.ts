/** Every field of a configuration at its bounds and beyond them, and layouts of weights by where each value lies. */
import { describe, expect, it } from 'vitest';
import { ConfigError, readConfig } from '../../engine/config.ts';
import {
  FORMATS,
  fits,
  isPlanes,
  isWeightFormat,
  packWeight,
  scaleColumns,
  unpackWeight,
  WEIGHT_FORMATS,
  weightBytes,
} from '../../engine/formats.ts';
import { clamp, exp, max, mergeSums, min, rne } from '../../engine/numeric.ts';
import { emptyPlanes, PLANES, type PlaneName, planeNumbers, planeValues } from '../../engine/planes.ts';
import { inverseFrequencies, ropeRows } from '../../engine/rope.ts';
import { Shares } from '../../engine/shares.ts';

const base = {
  ...{ family: 'llama', vocab: 64, hidden: 64, layers: 2, heads: 4, kvHeads: 2, headDim: 16, ffn: 128, context: 256 },
  ...{ normEps: 1e-5, ropeTheta: 1e4, tied: true, qkvBias: false, qkNorm: false },
};
const told = (raw: unknown): string => {
  try {
    readConfig(raw);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.message).toBe(`model config: ${error.field} ${error.problem}`);
    return `${error.field} ${error.problem}`;
  }
  return 'fine';
};
const of = (more: object) => told({ ...base, ...more });

describe('a configuration', () => {
  it('is what it says, and no more', () => {
    expect(readConfig(base)).toEqual(base);
    const { tied: _t, qkvBias: _b, qkNorm: _n, ...least } = base;
    expect(readConfig({ ...least, window: null, activation: undefined })).toEqual({ ...base, tied: false });
    const more = {
      activation: 'gelu',
      embedScale: 8,
      attentionScale: 0.125,
      postNorms: true,
      layerKinds: ['full', 'sliding'],
      window: 32,
      slidingTheta: 1e4,
    };
    expect(readConfig({ ...base, ...more })).toEqual({ ...base, ...more });
    const conv = { layerKinds: ['full', 'conv'], convTaps: 3 };
    expect(readConfig({ ...base, ...conv })).toEqual({ ...base, ...conv });
    expect([told(undefined), told(null), told(7)]).toEqual(Array(3).fill('it must be an object'));
    expect(of({ other: 1 })).toBe('other is not known to this version');
    expect(of({ other: undefined })).toBe('fine');
    expect(of({ toString: undefined })).toBe('fine');
  });

  it.each<[field: string, lo: number, hi: number, more?: object]>([
    ['vocab', 1, 1 << 20],
    ['hidden', 8, 1 << 16],
    ['layers', 1, 512],
    ['headDim', 8, 256],
    ['ffn', 8, 1 << 18],
    ['context', 16, 1 << 20],
    ['heads', 1, 1024, { kvHeads: 1 }],
    ['kvHeads', 1, 1024, { heads: 1024 }],
    ['window', 1, 1 << 20],
    ['convTaps', 1, 16],
  ])('%s is an integer in %i..%i', (field, lo, hi, more = {}) => {
    for (const v of [lo, hi]) expect(of({ ...more, [field]: v }), `${v}`).toBe('fine');
    for (const v of [lo - 1, hi + 1, lo + 0.5, String(lo), true]) {
      expect(of({ ...more, [field]: v })).toBe(`${field} is ${JSON.stringify(v)}, must be an integer in ${lo}..${hi}`);
    }
    if (field in base) expect(of({ [field]: undefined })).toBe(`${field} is missing, must be an integer in ${lo}..${hi}`);
  });

  it.each<[field: string, above: boolean, lo: number, hi: number]>([
    ['normEps', true, 0, 1],
    ['ropeTheta', false, 1, 1e12],
    ['slidingTheta', false, 1, 1e12],
    ['embedScale', true, 0, 1e4],
    ['attentionScale', true, 0, 1e4],
  ])('%s is a number (above its least: %j) %d..%d', (field, above, lo, hi) => {
    const must = above ? `a number above ${lo}, at most ${hi}` : `a number in ${lo}..${hi}`;
    for (const v of [above ? 1e-9 : lo, hi]) expect(of({ [field]: v })).toBe('fine');
    for (const v of [above ? lo : lo - 0.01, hi * 1.01, 'x'])
      expect(of({ [field]: v })).toBe(`${field} is ${JSON.stringify(v)}, must be ${must}`);
    expect(of({ [field]: Number.NaN })).toBe(`${field} is null, must be ${must}`);
  });

  it.each<[object, string]>([
    [{ family: 7 }, 'family is 7, must be a text'],
    [{ tied: 1 }, 'tied is 1, must be true or false'],
    [{ qkvBias: 'x' }, 'qkvBias is "x", must be true or false'],
    [{ qkNorm: 0 }, 'qkNorm is 0, must be true or false'],
    [{ postNorms: 1 }, 'postNorms is 1, must be true or false'],
    [{ activation: 'relu' }, 'activation is "relu", must be silu, gelu'],
    [{ layerKinds: 'full' }, 'layerKinds is "full", must be a list of full, sliding, nope, conv'],
    [{ layerKinds: ['full', 'x'] }, 'layerKinds is ["full","x"], must be a list of full, sliding, nope, conv'],
    [{ layerKinds: ['full'] }, 'layerKinds has 1 layers, must have 2'],
    [{ layerKinds: ['full', 'sliding'] }, 'window is missing, and layers slide'],
    [{ layerKinds: ['full', 'conv'] }, 'convTaps is missing, and layers convolve'],
    [{ layerKinds: ['conv', 'conv'], convTaps: 3 }, 'layerKinds has no layer that attends'],
    [{ layerKinds: ['full', 'conv'], convTaps: 3, hidden: 72 }, 'hidden 72 is no multiple of 32, and layers convolve'],
    [{ heads: 5 }, 'heads 5 is no multiple of kvHeads 2'],
    [{ headDim: 12 }, 'headDim 12 is no multiple of 8'],
    [{ hidden: 68 }, 'hidden 68 is no multiple of 8'],
    [{ ffn: 130 }, 'ffn 130 is no multiple of 4'],
    [{ family: 'x'.repeat(100) }, 'fine'],
    [{ activation: 'x'.repeat(100) }, `activation is "${'x'.repeat(79)}, must be silu, gelu`],
    [{ ropeScaling: 7 }, 'ropeScaling. must be an object'],
    [{ ropeScaling: { kind: 'yarn' } }, 'ropeScaling.kind is "yarn", must be linear, factors, llama3'],
    [{ ropeScaling: { kind: 'linear', factor: 1 } }, 'fine'],
    [{ ropeScaling: { kind: 'linear', factor: 1e4 } }, 'fine'],
    [{ ropeScaling: { kind: 'linear', factor: 0.9 } }, 'ropeScaling.factor is 0.9, must be a number in 1..10000'],
    [{ ropeScaling: { kind: 'linear', factor: 2, other: 1 } }, 'ropeScaling.other is not known to this version'],
    [{ ropeScaling: { kind: 'factors', factors: Array(8).fill(1e6) } }, 'fine'],
    [{ ropeScaling: { kind: 'factors', factors: Array(7).fill(1) } }, 'ropeScaling.factors has 7 numbers, must have 8'],
    [
      { ropeScaling: { kind: 'factors', factors: [0, 1, 1, 1, 1, 1, 1, 1] } },
      'ropeScaling.factors is [0,1,1,1,1,1,1,1], must be numbers above 0, at most 1e6',
    ],
    [{ ropeScaling: { kind: 'factors', factors: [1000001] } }, 'ropeScaling.factors is [1000001], must be numbers above 0, at most 1e6'],
    [{ ropeScaling: { kind: 'factors', factors: ['1'] } }, 'ropeScaling.factors is ["1"], must be numbers above 0, at most 1e6'],
    [{ ropeScaling: { kind: 'factors', factors: 1 } }, 'ropeScaling.factors is 1, must be numbers above 0, at most 1e6'],
    [{ ropeScaling: { kind: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 8192 } }, 'fine'],
    [
      { ropeScaling: { kind: 'llama3', factor: 8, lowFreqFactor: 0, highFreqFactor: 4, originalContext: 8192 } },
      'ropeScaling.lowFreqFactor is 0, must be a number above 0, at most 10000',
    ],
    [
      { ropeScaling: { kind: 'llama3', factor: 8, lowFreqFactor: 4, highFreqFactor: 4, originalContext: 8192 } },
      'ropeScaling.highFreqFactor is 4, must be a number above 4, at most 10000',
    ],
    [
      { ropeScaling: { kind: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 0 } },
      'ropeScaling.originalContext is 0, must be an integer in 1..2147483648',
    ],
  ])('%j: %s', (more, why) => {
    expect(of(more)).toBe(why);
  });
});

/** FNV-1a, 32 bits. */
const hash = (bytes: Uint8Array): string => {
  let h = 0x811c9dc5;
  for (const b of bytes) h = Math.imul(h ^ b, 0x01000193) >>> 0;
  return h.toString(16).padStart(8, '0');
};

describe('a format of weights', () => {
  const numbers = (n: number, most: number, seed: number) =>
    Array.from({ length: n }, (_, i) => ((i * 7919 + seed * 104729) % 65521) % (most + 1));
  const bits = (list: readonly number[]) => 2 ** list.reduce((a, b) => a + b, 0) - 1;
  const [N, K] = [19, 512];
  /** Planes of every value that may be. */
  const filled = (name: PlaneName) => {
    const f = PLANES[name];
    const p = emptyPlanes(f, N, K);
    p.q.set(numbers(p.q.length, bits(f.q), 1));
    p.d.set(numbers(p.d.length, f.scale === 'f16' ? 0x3fff : 251, 2));
    p.m.set(numbers(p.m.length, 0x3fff, 3));
    p.scales.set(numbers(p.scales.length, bits(f.scales), 4));
    p.minima.set(numbers(p.minima.length, bits(f.minima), 5));
    return p;
  };
  const WANTED: Record<string, [bytes: number, columns: number, packed: string, values: string]> = {
    q4_1: [1280, 32, '28595a75', 'd08f27f4'],
    q5_0: [1408, 32, '41056158', '84b2cbc1'],
    q5_1: [1536, 32, '9bc49a7e', 'f475f80d'],
    iq4_nl: [1152, 32, '99535013', '30083604'],
    mxfp4: [1088, 32, 'e0b5d20b', '239cc170'],
    q2_k: [672, 16, '8cf979a7', '9e932aee'],
    q3_k: [880, 16, 'c4b0c22c', '6cf4c6bf'],
    q4_k: [1152, 32, '6d3761f9', '35bf0726'],
    q5_k: [1408, 32, '2369ab36', 'd7857d58'],
    q6_k: [1680, 16, '444b5259', 'ce19f0bc'],
    iq4_xs: [1088, 32, '37b547ea', 'ff405d21'],
    any_k: [1824, 16, 'aba1a18b', '7a3882e2'],
  };

  it.each(Object.keys(PLANES) as PlaneName[])('%s lies in memory as it did, comes back, and stands for these numbers', (name) => {
    const source = filled(name);
    const packed = packWeight(name, N, K, source);
    expect(unpackWeight(name, N, K, packed)).toEqual(source);
    const values = planeNumbers(PLANES[name], source);
    const { q, scale, minimum } = planeValues(PLANES[name], source);
    const { sub } = PLANES[name];
    for (let i = 0; i < values.length; i += 37) {
      const product = Math.fround(q[i] * scale[Math.floor(i / sub)]);
      expect(values[i]).toBe(
        minimum.length === 0 ? product : Math.fround(q[i] * scale[Math.floor(i / sub)] + minimum[Math.floor(i / sub)]),
      );
    }
    expect([weightBytes(name, 8, 256), scaleColumns(name), hash(packed), hash(new Uint8Array(values.buffer))]).toEqual(WANTED[name]);
    expect(isPlanes(name)).toBe(true);
  });

  it('w4, w8 and f32 lie in memory as they did', () => {
    const w4 = { q: Uint8Array.from(numbers(N * 64, 15, 1)), d: Uint16Array.from(numbers(N * 2, 0x3fff, 2)) };
    const w8 = { q: Int8Array.from(numbers(N * 64, 255, 1).map((v) => v - 128)), d: w4.d };
    const f32 = Float32Array.from(numbers(N * 64, 999, 1));
    const all = [packWeight('w4', N, 64, w4), packWeight('w8', N, 64, w8), packWeight('f32', N, 64, f32)];
    expect(all.map((p) => [p.length, hash(p)])).toEqual([
      [864, '809e1be0'],
      [1632, '26a7b275'],
      [6144, '279aff40'],
    ]);
    expect([unpackWeight('w4', N, 64, all[0]), unpackWeight('w8', N, 64, all[1]), unpackWeight('f32', N, 64, all[2])]).toEqual([
      w4,
      w8,
      f32,
    ]);
    for (const v of [-129, 128])
      expect(() => packWeight('w8', 1, 32, { q: Array(32).fill(v) as never, d: new Uint16Array(1) })).toThrow(
        `w8 q is ${v} at row 0, column 0, must be in -128..127`,
      );
    for (const v of [-1, 16])
      expect(() => packWeight('w4', 1, 32, { q: Array(32).fill(v) as never, d: new Uint16Array(1) })).toThrow(
        `w4 q is ${v} at row 0, column 0, must be in 0..15`,
      );
    expect([
      scaleColumns('w4'),
      isPlanes('w4'),
      isWeightFormat('w4'),
      isWeightFormat('w5'),
      isWeightFormat(4),
      isWeightFormat('toString'),
    ]).toEqual([32, false, true, false, false, false]);
  });

  it('says what it holds, and which rows fit it', () => {
    expect(WEIGHT_FORMATS).toHaveLength(15);
    for (const name of WEIGHT_FORMATS) {
      const { block, bytes, minima, act } = FORMATS[name];
      expect([fits(name, block), fits(name, 2 * block), fits(name, block + 0.5), fits(name, 0), fits(name, -block)], name).toEqual([
        true,
        true,
        false,
        false,
        false,
      ]);
      expect(weightBytes(name, 9, block)).toBe(2 * bytes);
      if (block > 1) {
        expect(fits(name, block - 1)).toBe(false);
        expect(() => weightBytes(name, 8, block + 1)).toThrow(`${name} needs K to be a multiple of ${block}`);
      }
      for (const K of [0, -1, 0.5]) expect(() => weightBytes(name, 8, K)).toThrow(`K is ${K}, must be a positive integer`);
      expect([act, minima]).toEqual([name === 'f32' ? 'f32' : 'i8', /_1$|q[245]_k|any_k/.test(name)]);
    }
  });
});

describe('arithmetic of exact-1', () => {
  it('picks and rounds as it says', () => {
    expect([max(1, 2), max(2, 1), max(1, Number.NaN), max(Number.NaN, 1)]).toEqual([2, 2, 1, Number.NaN]);
    expect([min(1, 2), min(2, 1), min(1, Number.NaN), min(Number.NaN, 1)]).toEqual([1, 1, 1, Number.NaN]);
    expect([clamp(5, 0, 1), clamp(-5, 0, 1), clamp(0.5, 0, 1), clamp(Number.NaN, 0, 1)]).toEqual([1, 0, 0.5, 0]);
    expect([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.4, 0.6, 3].map(rne).map((v) => v + 0)).toEqual([0, 2, 2, 0, -2, -2, 0, 1, 3]);
    const values = Float64Array.from({ length: 400 }, (_, i) => exp(Math.fround(-95 + i * 0.477)));
    expect(hash(new Uint8Array(values.buffer))).toBe('c2e4a0d3');
    expect([exp(0), exp(1), exp(-200), exp(200)]).toEqual([1, Math.fround(Math.E), exp(Math.fround(-87.33)), exp(Math.fround(88.37))]);
  });

  it('sums of blocks are those of the whole', () => {
    const sum = (...blocks: number[]) => mergeSums(blocks);
    expect(sum(1, 2)).toEqual({ max: 1, sum: 2 });
    expect(sum(1, 2, 1, 3)).toEqual({ max: 1, sum: 5 });
    expect(sum(0, 1, 1, 1)).toEqual({ max: 1, sum: Math.fround(exp(-1) + 1) });
    expect(sum(-Infinity, 5, 1, 2)).toEqual({ max: 1, sum: 2 });
    expect(sum(-Infinity, 5)).toEqual({ max: -Infinity, sum: 0 });
  });
});

describe('rotations', () => {
  const close = (got: Float64Array, wanted: number[]) => {
    expect(got).toHaveLength(wanted.length);
    for (const [i, v] of got.entries()) expect(Math.abs(v - wanted[i])).toBeLessThanOrEqual(1e-14 * Math.abs(wanted[i]));
  };
  const plain = [0, 1, 2, 3].map((i) => 1e4 ** ((-2 * i) / 8));
  it('have these frequencies under each scaling', () => {
    close(inverseFrequencies({ theta: 1e4 } as never, 8), plain);
    close(inverseFrequencies({ theta: 0 } as never, 8), [0, 0, 0, 0]);
    close(
      inverseFrequencies({ theta: 1e4, scaling: { kind: 'linear', factor: 4 } }, 8),
      plain.map((f) => f / 4),
    );
    close(inverseFrequencies({ theta: 1e4, scaling: { kind: 'factors', factors: [1, 2, 3] } }, 8), [
      plain[0],
      plain[1] / 2,
      plain[2] / 3,
      plain[3],
    ]);
    // wavelengths 6.3, 63, 628 and 6283; long ones above 1000, short ones to 100
    const llama3 = { kind: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 10, originalContext: 1000 } as const;
    const smooth = (1000 / (2 * Math.PI * 100) - 1) / 9;
    close(inverseFrequencies({ theta: 1e4, scaling: llama3 }, 8), [
      plain[0],
      plain[1],
      ((1 - smooth) * plain[2]) / 8 + smooth * plain[2],
      plain[3] / 8,
    ]);
  });

  it('have rows of cosines, then sines, from any position', () => {
    const rope = { theta: 1e4 } as never;
    const rows = ropeRows(rope, 8, 0, 5);
    for (let p = 0; p < 5; p++)
      for (let i = 0; i < 4; i++) {
        expect(rows[p * 8 + i]).toBe(Math.fround(Math.cos(p * plain[i])));
        expect(rows[p * 8 + 4 + i]).toBe(Math.fround(Math.sin(p * plain[i])));
      }
    expect(ropeRows(rope, 8, 3, 5)).toEqual(rows.slice(24));
  });
});

it('owners: who got least goes first, who comes starts level with that, who has nothing here is forgotten', () => {
  const s = new Shares();
  const list = ['a', 'b', 'a'].map((owner, i) => ({ owner, i }));
  s.enter('a');
  expect(s.sorted(list)).toBe(list);
  s.charge('a', 5);
  s.enter('b');
  expect([s.served('a'), s.served('b'), s.served('c')]).toEqual([5, 5, 0]);
  expect(s.sorted(list).map((x) => x.i)).toEqual([0, 1, 2]);
  s.charge('a', 1);
  s.charge('nobody', 9);
  expect(s.sorted(list).map((x) => x.i)).toEqual([1, 0, 2]);
  expect(s.sorted(list.slice(0, 1))).toEqual(list.slice(0, 1));
  s.charge('b', 4);
  s.enter('c');
  expect([s.served('c'), s.served('nobody')]).toEqual([6, 0]);
  s.enter('a');
  s.leave('a');
  expect(s.served('a')).toBe(6);
  s.leave('a');
  s.leave('a');
  s.leave('nobody');
  expect(s.served('a')).toBe(0);
});
