/** Ops that treat every row by itself: rows are dealt out to the tiles, each streams its own through SRAM in chunks. */

import type { Activation, WeightFormat } from '../../engine/backend.ts';
import { ROWS, rowGroupBytes } from '../../engine/formats.ts';
import { type DeviceSpec, tilesOf } from '../device/spec.ts';
import { Builder, Ring } from '../program/builder.ts';
import { type HbmRange, type Program, rowBytes } from '../program/isa.ts';
import { EMBED_FORMATS } from '../vector/embed.ts';
import { OPS } from '../vector/index.ts';
import { block, bytes, cut, DIV, gather, load, type Options, span, store, vec } from './common.ts';

/** Rows of each tile in chunks of at most `most`: [tile, first row, rows, number of the chunk on its tile]. */
function* chunks(tiles: number, rows: number, most: number): Generator<[tile: number, row: number, n: number, use: number]> {
  const used = Math.min(tiles, rows);
  for (let t = 0; t < used; t++) {
    const from = cut(rows, used, t);
    const to = cut(rows, used, t + 1);
    const parts = DIV(to - from, most);
    for (let i = 0; i < parts; i++) {
      const a = from + cut(to - from, parts, i);
      yield [t, a, from + cut(to - from, parts, i + 1) - a, i];
    }
  }
}

/** Rows that fit a quarter of SRAM, counting `each` bytes a row in all buffers. */
const rowsThatFit = (d: DeviceSpec, each: number): number => Math.max(1, Math.floor((d.tile.sramKiB * 1024 * 0.8) / (2 * each)));

export interface NormShape {
  readonly n: number;
  readonly D: number;
  readonly eps: number;
  readonly quant: boolean;
  /** Row of x for each output row; undefined: the same. */
  readonly rows?: readonly number[];
}

/** Arguments: x f32 [.., D], g [D], y [n, D]. */
export function compileNorm(d: DeviceSpec, s: NormShape, o: Options): Program {
  const b = new Builder(d, `norm ${s.n}x${s.D}`, 4 * s.n * s.D);
  const outBytes = rowBytes(s.quant, s.D);
  const most = rowsThatFit(d, s.D * 4 + outBytes + 128);
  const depth = o.doubleBuffer ? 2 : 1;
  const size = Math.min(most, DIV(s.n, Math.min(tilesOf(d), s.n)));
  const gain = new Ring(b, s.D * 4, 1, 'gain');
  const x = new Ring(b, size * s.D * 4, depth, 'x');
  const y = new Ring(b, size * outBytes, depth, 'y');
  for (const [t, row, n, use] of chunks(b.tileCount, s.n, size)) {
    if (use === 0) gain.load(b, t, [load([t], span('g', 0, s.D * 4), gain.at(0))], 0);
    const from: HbmRange = s.rows
      ? gather(
          'x',
          s.rows.slice(row, row + n).map((r) => r * s.D * 4),
          s.D * 4,
        )
      : span('x', row * s.D * 4, n * s.D * 4);
    x.load(b, t, [load([t], from, x.at(use))], use);
    const out = y.at(use);
    const params = { x: x.at(use), ldx: s.D * 4, g: gain.at(0), D: s.D, eps: s.eps, rows: n, out, ldo: outBytes, quant: s.quant ? 1 : 0 };
    const instr = vec(
      'norm',
      params,
      n * s.D,
      OPS.norm + (s.quant ? OPS.quantize : 0),
      [bytes(x.at(use), n * s.D * 4), bytes(gain.at(0), s.D * 4)],
      [bytes(out, n * outBytes)],
    );
    if (use === 0) gain.take(instr, t, 0, false);
    b.emit(t, y.fill(x.take(instr, t, use), [t], use));
    b.emit(t, y.take(store(t, span('y', row * outBytes, n * outBytes), out), t, use));
  }
  return b.finish();
}

/** Arguments: x f32 [n, D], y f32 [n, D], g [D]: x += the norm of y. */
export function compileAddNorm(d: DeviceSpec, s: Pick<NormShape, 'n' | 'D' | 'eps'>, o: Options): Program {
  const b = new Builder(d, `addNorm ${s.n}x${s.D}`, 5 * s.n * s.D);
  const row = s.D * 4;
  const depth = o.doubleBuffer ? 2 : 1;
  const size = Math.min(rowsThatFit(d, 2 * row + 128), DIV(s.n, Math.min(tilesOf(d), s.n)));
  const gain = new Ring(b, row, 1, 'gain');
  const y = new Ring(b, size * row, depth, 'y');
  const x = new Ring(b, size * row, depth, 'x');
  for (const [t, from, n, use] of chunks(b.tileCount, s.n, size)) {
    if (use === 0) gain.load(b, t, [load([t], span('g', 0, row), gain.at(0))], 0);
    y.load(b, t, [load([t], span('y', from * row, n * row), y.at(use))], use);
    x.load(b, t, [load([t], span('x', from * row, n * row), x.at(use))], use);
    const at = bytes(x.at(use), n * row);
    const params = { x: x.at(use), y: y.at(use), g: gain.at(0), D: s.D, eps: s.eps, rows: n };
    const instr = vec('addNorm', params, n * s.D, OPS.norm + 1, [bytes(y.at(use), n * row), bytes(gain.at(0), row), at], [at]);
    const done = b.semaphore();
    instr.signals.push(done);
    if (use === 0) gain.take(instr, t, 0, false);
    b.emit(t, x.take(y.take(instr, t, use), t, use, false));
    const out = store(t, span('x', from * row, n * row), x.at(use));
    out.waits.push(done, 1);
    x.free(out, t);
    b.emit(t, out);
  }
  return b.finish();
}

export interface GluShape {
  readonly T: number;
  readonly F: number;
  readonly quant: boolean;
  readonly activation: Activation;
}

/** The vector unit's function of each activation, and what it costs an element. */
const GATES: Record<Activation, { fn: string; ops: number }> = {
  silu: { fn: 'swiglu', ops: OPS.swiglu },
  gelu: { fn: 'geglu', ops: OPS.swiglu + 4 },
};

/** Arguments: x f32 [T, 2F], y [T, F]. Rows and, where rows are few, blocks of columns are dealt out. */
export function compileGlu(d: DeviceSpec, s: GluShape, o: Options): Program {
  const { fn, ops } = GATES[s.activation];
  const b = new Builder(d, `${fn} ${s.T}x${s.F}`, 5 * s.T * s.F);
  const e = (n: number): number => rowBytes(s.quant, n);
  const unit = s.quant ? 32 : 4;
  const colUnits = DIV(s.F, unit);
  const split = Math.min(colUnits, Math.max(1, Math.floor(b.tileCount / s.T), DIV(s.F * 9, (d.tile.sramKiB * 1024) / 4)));
  const width = DIV(colUnits, split) * unit;
  const depth = o.doubleBuffer ? 2 : 1;
  const rows = s.T * split; // virtual rows: (row, part of its columns)
  const size = split > 1 ? 1 : Math.min(rowsThatFit(d, s.F * 9.2 + 128), DIV(rows, Math.min(b.tileCount, rows)));
  const x = new Ring(b, size * width * 8, depth, 'gate and up');
  const y = new Ring(b, size * e(width), depth, 'y');
  for (const [t, virtual, n, use] of chunks(b.tileCount, rows, size)) {
    const row = Math.floor(virtual / split);
    const part = virtual % split;
    const c0 = Math.min(s.F, cut(colUnits, split, part) * unit);
    const cols = Math.min(s.F, cut(colUnits, split, part + 1) * unit) - c0;
    const gate = block('x', (row * 2 * s.F + c0) * 4, n, 2 * s.F * 4, cols * 4);
    const up = block('x', (row * 2 * s.F + s.F + c0) * 4, n, 2 * s.F * 4, cols * 4);
    x.load(b, t, [load([t], gate, x.at(use), 2 * cols * 4), load([t], up, x.at(use) + cols * 4, 2 * cols * 4)], use);
    const out = y.at(use);
    const params = { x: x.at(use), rows: n, cols, out, ldo: e(cols), quant: s.quant ? 1 : 0 };
    const instr = vec(
      fn,
      params,
      n * cols,
      ops + (s.quant ? OPS.quantize : 0),
      [bytes(x.at(use), n * cols * 8)],
      [bytes(out, n * e(cols))],
    );
    b.emit(t, y.fill(x.take(instr, t, use), [t], use));
    b.emit(t, y.take(store(t, block('y', row * e(s.F) + e(c0), n, e(s.F), e(cols)), out), t, use));
  }
  return b.finish();
}

export interface EmbedShape {
  readonly format: WeightFormat;
  readonly V: number;
  readonly D: number;
  readonly scale: number;
  readonly ids: readonly number[];
}

/** Arguments: w in kernel layout [V, D], ids u32 [T], y f32 [T, D]. Throws when an id is outside the vocabulary. */
export function compileEmbed(d: DeviceSpec, s: EmbedShape, o: Options): Program {
  const T = s.ids.length;
  const wrong = s.ids.find((id) => !(id < s.V));
  if (wrong !== undefined) throw new Error(`embed: token id ${wrong} is not below the vocabulary's ${s.V}`);
  const b = new Builder(d, `embed ${T}x${s.D}`, T * s.D);
  const group = rowGroupBytes(s.format, s.D);
  const depth = o.doubleBuffer ? 2 : 1;
  const size = Math.min(rowsThatFit(d, group + s.D * 4 + 128), DIV(T, Math.min(b.tileCount, T)));
  const groups = new Ring(b, size * group, depth, 'row groups');
  const ids = new Ring(b, size * 4, depth, 'ids');
  const y = new Ring(b, size * s.D * 4, depth, 'y');
  for (const [t, row, n, use] of chunks(b.tileCount, T, size)) {
    const starts = s.ids.slice(row, row + n).map((id) => Math.floor(id / ROWS) * group);
    groups.load(b, t, [load([t], gather('w', starts, group), groups.at(use))], use);
    ids.load(b, t, [load([t], span('ids', row * 4, n * 4), ids.at(use))], use);
    const params = {
      rows: n,
      K: s.D,
      groups: groups.at(use),
      pitch: group,
      ids: ids.at(use),
      out: y.at(use),
      format: EMBED_FORMATS.indexOf(s.format),
      scale: s.scale,
    };
    const instr = vec(
      'embed',
      params,
      n * s.D,
      OPS.embed,
      [bytes(groups.at(use), n * group), bytes(ids.at(use), n * 4)],
      [bytes(y.at(use), n * s.D * 4)],
    );
    b.emit(t, y.fill(ids.take(groups.take(instr, t, use), t, use), [t], use));
    b.emit(t, y.take(store(t, span('y', row * s.D * 4, n * s.D * 4), y.at(use)), t, use));
  }
  return b.finish();
}

/** Arguments: kv (pages of `page` bytes). Copies whole pages, one pair after the other where they depend on each other. */
export function compileCopy(d: DeviceSpec, s: { pairs: readonly number[]; page: number }, o: Options): Program {
  const n = s.pairs.length / 2;
  const b = new Builder(d, `copyPages ${n}`);
  const piece = Math.min(s.page, Math.floor((d.tile.sramKiB * 1024) / 4));
  const ring = new Ring(b, piece, o.doubleBuffer ? 2 : 1, 'page');
  // pages are cut across the tiles: piece k of every page belongs to tile k mod tiles, so pairs that chain stay ordered
  const done = Array.from({ length: b.tileCount }, () => b.semaphore());
  const uses = new Array(b.tileCount).fill(0);
  for (let i = 0; i < n; i++) {
    for (let at = 0, k = 0; at < s.page; at += piece, k++) {
      const t = k % b.tileCount;
      const len = Math.min(piece, s.page - at);
      const l = load([t], span('kv', s.pairs[2 * i] * s.page + at, len), ring.at(uses[t]));
      if (uses[t] > 0) l.waits.push(done[t], uses[t]);
      const st = store(t, span('kv', s.pairs[2 * i + 1] * s.page + at, len), ring.at(uses[t]));
      ring.load(b, t, [l], uses[t]);
      ring.take(st, t, uses[t]);
      st.signals.push(done[t]);
      b.emit(t, st);
      uses[t]++;
    }
  }
  return b.finish();
}
