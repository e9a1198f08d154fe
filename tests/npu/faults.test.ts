/** Tiles see only their SRAM, in the order semaphores give: a program with one wait dropped or one DMA shifted must be caught or give other bits. */
import { describe, expect, test } from 'vitest';
import { packWeight } from '../../engine/formats.ts';
import { pageBytes } from '../../engine/layout.ts';
import { device } from '../../simulator/device/index.ts';
import { compile, defaults, type Op } from '../../simulator/ops/index.ts';
import type { Program } from '../../simulator/program/isa.ts';
import { effects, execute } from '../../simulator/run/execute.ts';
import { type Bindings, Tiles } from '../../simulator/run/memory.ts';
import { checkRaces } from '../../simulator/run/races.ts';
import { schedule } from '../../simulator/run/schedule.ts';
import { normals, w4 } from '../kernels/cases/data.ts';

const d = device('edge-npu');
/** A part whose tiles hold little, so that every op needs several pieces of each buffer. */
const small = { ...d, tile: { ...d.tile, sramKiB: 64 } };

const f32 = (n: number, seed: number): Uint8Array => new Uint8Array(normals(n, seed, 1).buffer);
const u32 = (values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
/** Plausible activations: blocks of i8 with a scale. */
function act(rows: number, K: number, seed: number): Uint8Array {
  const out = new Uint8Array((rows * K * 40) / 32);
  const x = normals(rows * K, seed, 40);
  const view = new DataView(out.buffer);
  for (let b = 0; b < (rows * K) / 32; b++) {
    for (let k = 0; k < 32; k++) view.setInt8(b * 40 + k, Math.max(-127, Math.min(127, Math.round(x[b * 32 + k]))));
    view.setFloat32(b * 40 + 32, 0.01 + (b % 7) * 0.003, true);
  }
  return out;
}

const kv = { format: 'i8', layers: 1, kvHeads: 2, headDim: 32 } as const;
const pages = 12;
function kvPages(seed: number): Uint8Array {
  const out = new Uint8Array(pages * pageBytes(kv));
  const view = new DataView(out.buffer);
  const x = normals(out.length, seed, 40);
  const head = pageBytes(kv) / kv.kvHeads;
  for (let i = 0; i < out.length; i++) view.setInt8(i, Math.max(-127, Math.min(127, Math.round(x[i]))));
  for (let h = 0; h < pages * kv.kvHeads; h++) {
    for (let j = 0; j < 32; j++) view.setFloat32(h * head + 32 * kv.headDim + j * 4, 0.01 + 0.001 * j, true);
  }
  return out;
}
const T = 150;
const pos = Array.from({ length: T }, (_, t) => t);
const table = [5, 3, 8, 1, 0, 2, 9, 4, 7, 6];
const seen = { sigma: 32 ** -0.5, window: 1 << 20 };
const slots = pos.map((p) => table[p >> 4] * 16 + (p & 15));

const ops: [string, Op, () => Record<string, Uint8Array>, string[]][] = [
  [
    'matmul',
    { kind: 'matmul', T: 70, N: 96, K: 512, format: 'w4', bias: true, accumulate: true, swiglu: false, out: 'f32' },
    () => ({ x: act(70, 512, 1), w: packWeight('w4', 96, 512, w4(96, 512, 2)), bias: f32(96, 3), y: f32(70 * 96, 4) }),
    ['y'],
  ],
  [
    'norm into matmul into swiglu',
    { kind: 'matmul', T: 70, N: 256, K: 128, format: 'w4', bias: false, accumulate: false, norm: 1e-5, swiglu: true, out: 'i8' },
    () => ({
      x: f32(70 * 128, 1),
      g: f32(128, 5),
      w: packWeight('w4', 256, 128, w4(256, 128, 2)),
      y: new Uint8Array((70 * 128 * 40) / 32),
    }),
    ['y'],
  ],
  [
    'norm',
    { kind: 'norm', n: 200, D: 160, eps: 1e-5, quant: true },
    () => ({ x: f32(200 * 160, 1), g: f32(160, 2), y: new Uint8Array(200 * 200) }),
    ['y'],
  ],
  [
    'swiglu',
    { kind: 'glu', T: 90, F: 256, quant: true, activation: 'silu' },
    () => ({ x: f32(90 * 512, 1), y: new Uint8Array((90 * 256 * 40) / 32) }),
    ['y'],
  ],
  [
    'embed',
    { kind: 'embed', format: 'w4', V: 64, D: 256, scale: 1, ids: pos.map((p) => (p * 7) % 64) },
    () => ({ w: packWeight('w4', 64, 256, w4(64, 256, 1)), ids: u32(pos.map((p) => (p * 7) % 64)), y: new Uint8Array(T * 256 * 4) }),
    ['y'],
  ],
  [
    'ropeStore',
    { kind: 'rope', heads: 4, kv, pageBytes: pageBytes(kv), pos, slot: slots, norm: 1e-5 },
    () => ({
      ...{ x: f32(T * 8 * 32, 1), table: f32(T * 32, 2), slot: u32(slots), y: new Uint8Array(T * 4 * 32 * 4), kv: kvPages(3) },
      ...{ gq: f32(32, 4), gk: f32(32, 5) },
    }),
    ['y', 'kv'],
  ],
  [
    'attention',
    { kind: 'attention', heads: 4, kv, pageBytes: pageBytes(kv), quant: true, ...seen, pos, seqOf: pos.map(() => 0), blocks: [table] },
    () => ({ x: f32(T * 4 * 32, 1), pos: u32(pos), kv: kvPages(3), y: new Uint8Array(T * 160) }),
    ['y'],
  ],
  [
    'attention in a window',
    {
      kind: 'attention',
      heads: 4,
      kv,
      pageBytes: pageBytes(kv),
      quant: true,
      ...seen,
      window: 37,
      pos,
      seqOf: pos.map(() => 0),
      blocks: [table],
    },
    () => ({ x: f32(T * 4 * 32, 1), pos: u32(pos), kv: kvPages(3), y: new Uint8Array(T * 160) }),
    ['y'],
  ],
  [
    'addNorm',
    { kind: 'addNorm', n: 200, D: 160, eps: 1e-5 },
    () => ({ x: f32(200 * 160, 1), y: f32(200 * 160, 3), g: f32(160, 2) }),
    ['x'],
  ],
  [
    'editLogits',
    {
      kind: 'edit',
      R: 9,
      V: 6000,
      edits: Array.from({ length: 90 }, (_, i): [number, number] => [Math.floor(i / 10), (i % 10) * 576 + 32]),
      mask: true,
    },
    () => ({
      x: f32(9 * 6000, 1),
      edits: u32(Array.from({ length: 90 }, (_, i) => [Math.floor(i / 10), (i % 10) * 576 + 32, 0x3fc00000, 0x3f000000 + i]).flat()),
      mask: u32(Array.from({ length: 9 * 188 }, (_, i) => (i % 3 === 0 ? (Math.imul(i, 2654435761) >>> 0) | 1 : 0xffffffff))),
    }),
    ['x'],
  ],
  [
    'topk',
    { kind: 'topk', R: 9, V: 9000, K: 64 },
    () => ({ x: f32(9 * 9000, 1), invTemp: f32(9, 2), y: new Uint8Array(9 * 130 * 4) }),
    ['y'],
  ],
  [
    'copyPages',
    { kind: 'copy', pairs: [0, 11, 1, 10, 11, 5], page: pageBytes(kv) * 20 },
    () => ({ kv: f32(pageBytes(kv) * 60, 1) }),
    ['kv'],
  ],
];

/** Runs a program; its outputs, or what was caught. */
function outcome(p: Program, data: Record<string, Uint8Array>, outputs: string[]): Uint8Array[] | string {
  try {
    const timeline = schedule(small, p);
    checkRaces(p, timeline);
    const bindings: Bindings = Object.fromEntries(Object.entries(data).map(([name, bytes]) => [name, { bytes, base: 0 }]));
    // stale SRAM is not zero
    const tiles = new Tiles(4, small.tile.sramKiB * 1024);
    for (let t = 0; t < 4; t++) tiles.get(t, p.sramBytes).u8.fill(0x3d);
    execute(p, effects(timeline), tiles, bindings);
    return outputs.map((name) => data[name]);
  } catch (e) {
    if (e instanceof Error && e.name === 'HazardError') return e.message;
    throw e;
  }
}

const equal = (a: Uint8Array[] | string, b: Uint8Array[] | string): boolean =>
  typeof a !== 'string' && typeof b !== 'string' && a.every((x, i) => Buffer.compare(x, b[i]) === 0);

/** Every n-th, so that a test tries at most 24. */
const sample = <X>(list: X[]): X[] => list.filter((_, i) => i % Math.ceil(list.length / 24) === 0);

describe.each(ops)('%s', (_name, op, data, outputs) => {
  const build = (): Program => compile(small, op, defaults);
  const good = outcome(build(), data(), outputs);

  test('runs without a hazard, with several pieces of work a tile', () => {
    expect(typeof good).not.toBe('string');
    expect(build().tiles[0].length).toBeGreaterThan(4);
  });

  test('an instruction that does not wait is caught or gives other bits', () => {
    // a load can be held back by the one before it as well, so loads are let loose a tile at a time
    const places = build().tiles.flatMap((list, t) =>
      list.flatMap((instr, i) => (instr.waits.length > 0 && instr.queue !== 'load' ? [[t, i]] : [])),
    );
    expect(places.length).toBeGreaterThan(2);
    const missed: string[] = [];
    for (const [t, i] of sample(places)) {
      const p = build();
      p.tiles[t][i].waits = [];
      if (equal(outcome(p, data(), outputs), good)) missed.push(`${p.tiles[t][i].kind} ${t}:${i}`);
    }
    for (let t = 0; t < 4; t++) {
      const p = build();
      const loads = p.tiles[t].filter((x) => x.queue === 'load' && x.waits.length > 0);
      if (loads.length === 0) continue;
      for (const l of loads) l.waits = [];
      if (equal(outcome(p, data(), outputs), good)) missed.push(`loads of ${t}`);
    }
    expect(missed).toEqual([]);
  });

  test('a lost signal is caught', () => {
    const places = build().tiles.flatMap((list, t) => list.flatMap((instr, i) => (instr.signals.length > 0 ? [[t, i]] : [])));
    const awaited = new Set(build().tiles.flatMap((list) => list.flatMap((x) => x.waits.filter((__, k) => k % 2 === 0))));
    for (const [t, i] of sample(places)) {
      const p = build();
      const instr = p.tiles[t][i];
      const lost = instr.signals.find((s) => awaited.has(s));
      if (lost === undefined) continue;
      const last = Math.max(
        ...p.tiles.flatMap((list) => list.flatMap((x) => x.waits.map((v, k) => (k % 2 === 1 && x.waits[k - 1] === lost ? v : 0)))),
      );
      const given = p.tiles.flatMap((list) => list.flatMap((x) => x.signals.filter((s) => s === lost))).length;
      if (given > last) continue; // nobody waits for the last of them
      instr.signals = instr.signals.filter((s) => s !== lost);
      expect(typeof outcome(p, data(), outputs), `${instr.kind} ${t}:${i}`).toBe('string');
    }
  });

  test('a shifted DMA is caught or gives other bits', () => {
    const places = build().tiles.flatMap((list, t) =>
      list.flatMap((instr, i) => (instr.kind === 'dma' && instr.hbm.len > 0 ? [[t, i]] : [])),
    );
    const missed: string[] = [];
    for (const [t, i] of sample(places)) {
      for (const where of ['sram', 'hbm']) {
        const p = build();
        const instr = p.tiles[t][i];
        if (instr.kind !== 'dma') continue;
        if (where === 'sram') instr.at += 4;
        else instr.hbm = { ...instr.hbm, starts: instr.hbm.starts.map((s) => s + 4) };
        if (equal(outcome(p, data(), outputs), good)) missed.push(`${where} of ${instr.queue} ${instr.hbm.buf} ${t}:${i}`);
      }
    }
    expect(missed).toEqual([]);
  });
});
