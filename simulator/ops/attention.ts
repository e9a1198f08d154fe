/**
 * Causal attention over pages. A piece of work is a run of tokens of one sequence with a group of kv heads; pieces go to
 * the tiles by their cost, the longest first. Each streams its sequence's pages, ascending, past the queries' state.
 *
 * Arguments: x (q), pos (u32), kv (the layer's part of the pages), y.
 */
import type { KvShape } from '../../engine/backend.ts';
import { kvHeadBytes, PAGE } from '../../engine/layout.ts';
import { type DeviceSpec, tilesOf } from '../device/spec.ts';
import { Builder, Ring } from '../program/builder.ts';
import { type Attend, type Program, rowBytes } from '../program/isa.ts';
import { attendStateBytes } from '../vector/attention.ts';
import { OPS } from '../vector/index.ts';
import { block, bytes, cut, DIV, gather, load, type Options, span, store, vec } from './common.ts';

export interface AttentionShape {
  readonly heads: number;
  readonly kv: KvShape;
  readonly pageBytes: number;
  readonly quant: boolean;
  readonly sigma: number;
  readonly window: number;
  readonly pos: readonly number[]; // [T]
  readonly seqOf: readonly number[]; // [T]
  /** Pages of each sequence. */
  readonly blocks: readonly (readonly number[])[];
  /** This chip's share of the heads, and of how many chips. */
  readonly chip: number;
  readonly chips: number;
}

interface Work {
  from: number; // token
  n: number;
  g0: number;
  groups: number; // kv heads
  first: number; // page in sight
  pages: number;
}

/** The fewest kv heads whose output is whole blocks of 32. */
export function headGroup(kv: KvShape, heads: number, quant: boolean): number {
  const width = (heads / kv.kvHeads) * kv.headDim;
  let n = 1;
  while (quant && n < kv.kvHeads && ((n * width) % 32 !== 0 || kv.kvHeads % n !== 0)) n++;
  return n;
}

/** The kv heads of chip c of `chips`, in whole groups. */
export function chipHeads(kv: KvShape, heads: number, quant: boolean, c: number, chips: number): [from: number, to: number] {
  const size = headGroup(kv, heads, quant);
  const n = kv.kvHeads / size;
  return [cut(n, chips, c) * size, cut(n, chips, c + 1) * size];
}

function works(s: AttentionShape, most: number): Work[] {
  const size = headGroup(s.kv, s.heads, s.quant);
  const [from, to] = chipHeads(s.kv, s.heads, s.quant, s.chip, s.chips);
  const list: Work[] = [];
  const T = s.pos.length;
  for (let t = 0; t < T; ) {
    let n = 1;
    while (t + n < T && n < most && s.seqOf[t + n] === s.seqOf[t]) n++;
    const own = s.pos.slice(t, t + n);
    const first = Math.floor(Math.max(0, Math.min(...own) + 1 - s.window) / PAGE);
    const pages = Math.floor(Math.max(...own) / PAGE) + 1 - first;
    for (let g = from; g < to; g += size) list.push({ from: t, n, g0: g, groups: size, first, pages });
    t += n;
  }
  return list.sort((a, b) => b.pages * b.n - a.pages * a.n || a.from - b.from || a.g0 - b.g0);
}

/** Deals works out, each to the tile with the least so far. */
function deal(list: readonly Work[], tiles: number): Work[][] {
  const loads = new Array<number>(tiles).fill(0);
  const out = Array.from({ length: tiles }, (): Work[] => []);
  for (const w of list) {
    let best = 0;
    for (let t = 1; t < tiles; t++) if (loads[t] < loads[best]) best = t;
    loads[best] += (w.pages + 1) * w.n;
    out[best].push(w);
  }
  return out;
}

export function compileAttention(d: DeviceSpec, s: AttentionShape, o: Options): Program {
  const { kv, heads: H } = s;
  const dim = kv.headDim;
  const per = H / kv.kvHeads;
  const headBytes = kvHeadBytes(kv);
  const f32 = kv.format === 'f32';
  const size = headGroup(kv, H, s.quant);
  const width = size * per * dim;
  const sram = d.tile.sramKiB * 1024;
  const depth = o.doubleBuffer ? 2 : 1;
  const e = (n: number): number => rowBytes(s.quant, n);
  const outBytes = e(width);
  // enough tokens to fill the tensor unit's rows and to keep every tile busy, within half of SRAM
  const eachToken = attendStateBytes(size * per, dim) + depth * (width * 4 + outBytes + 4) + 64;
  const share = DIV(s.pos.length * DIV(kv.kvHeads, size), tilesOf(d) * s.chips);
  const most = Math.max(1, Math.min(64, Math.floor((sram * 0.5) / eachToken), Math.max(Math.min(16, share), DIV(share, 4))));
  const list = works(s, most);
  const total = list.reduce((n, w) => n + w.pages * w.n * w.groups * per, 0) * PAGE;
  const b = new Builder(d, `attention ${s.pos.length} tokens, ${total} scores`, 4 * total * dim);
  if (list.length === 0) return b.finish();

  const tokens = Math.min(most, s.pos.length);
  const piece = size * headBytes; // of a page
  const longest = Math.max(...list.map((w) => w.pages));
  const chunk = Math.max(1, Math.min(longest, 32, Math.floor((sram * 0.2) / piece)));
  const q = new Ring(b, tokens * width * 4, depth, 'q');
  const pos = new Ring(b, tokens * 4, depth, 'positions');
  const pages = new Ring(b, chunk * piece, depth, 'pages');
  const state = new Ring(b, attendStateBytes(tokens * size * per, dim), 1, 'state');
  const y = new Ring(b, tokens * outBytes, depth, 'y');
  const ended: number[] = [];

  deal(list, b.tileCount).forEach((own, t) => {
    let pageUse = 0;
    own.forEach((w, use) => {
      const M = w.n * w.groups * per;
      const row = w.g0 * per * dim;
      q.load(b, t, [load([t], block('x', (w.from * H * dim + row) * 4, w.n, H * dim * 4, width * 4), q.at(use))], use);
      pos.load(b, t, [load([t], span('pos', w.from * 4, w.n * 4), pos.at(use))], use);
      const common = { d: dim, M, f32: f32 ? 1 : 0, sigma: s.sigma, q: q.at(use), state: state.at(use) };
      const stateRange = bytes(state.at(use), attendStateBytes(M, dim));
      const queries = bytes(q.at(use), w.n * width * 4);
      const begin = vec('attendStart', common, M * dim, OPS.quantize, [queries], [stateRange]);
      b.emit(t, state.fill(q.take(begin, t, use, false), [t], use, 'all'));

      const parts = DIV(w.pages, chunk);
      for (let c = 0; c < parts; c++, pageUse++) {
        const first = w.first + cut(w.pages, parts, c);
        const n = w.first + cut(w.pages, parts, c + 1) - first;
        const at = pages.at(pageUse);
        const table = s.blocks[s.seqOf[w.from]].slice(first, first + n);
        pages.load(
          b,
          t,
          [
            load(
              [t],
              gather(
                'kv',
                table.map((p) => p * s.pageBytes + w.g0 * headBytes),
                piece,
              ),
              at,
            ),
          ],
          pageUse,
        );
        const instr: Attend = {
          ...{ kind: 'attend', queue: 'tensor', waits: [], signals: [] },
          p: {
            ...common,
            at,
            headBytes,
            groups: w.groups,
            perGroup: per,
            tokens: w.n,
            pos: pos.at(use),
            first,
            pages: n,
            window: s.window,
          },
          timed: attendCost(M, dim, n, f32),
          reads: [bytes(at, n * piece), bytes(pos.at(use), w.n * 4), queries, stateRange],
          writes: [stateRange],
        };
        pages.take(instr, t, pageUse);
        if (c === 0) {
          state.take(instr, t, use, false);
          pos.take(instr, t, use, false);
        }
        if (c === parts - 1) pos.free(instr, t);
        if (c === parts - 1) instr.signals.push((ended[t] ??= b.semaphore()));
        b.emit(t, instr);
      }

      const out = y.at(use);
      const params = {
        ...{ ...common, groups: w.groups, perGroup: per, tokens: w.n, out, ldo: outBytes },
        quant: s.quant ? 1 : 0,
      };
      const end = vec('attendEnd', params, M * dim, 1 + (s.quant ? OPS.quantize : 0), [stateRange], [bytes(out, w.n * outBytes)]);
      end.waits.push(ended[t], use + 1);
      state.free(end, t);
      q.free(end, t);
      b.emit(t, y.fill(end, [t], use));
      b.emit(t, y.take(store(t, block('y', w.from * e(H * dim) + e(row), w.n, e(H * dim), outBytes), out), t, use));
    });
  });
  return b.finish();
}

/**
 * Scores and weighted values on the tensor unit, each twice because a query or a weight of 15 bits goes through as two
 * halves of 8; softmax, and a rescale of the output a page, on the vector unit. f32 pages are done there alone.
 */
function attendCost(M: number, d: number, pages: number, f32: boolean): Attend['timed'] {
  const keys = pages * PAGE;
  const rescale = Math.ceil((4 * d) / PAGE);
  if (f32) return { macs: [], elems: M * keys, ops: 4 * d + OPS.score + rescale };
  return {
    macs: [
      [M, keys, 2 * d],
      [M, d, 2 * keys],
    ],
    elems: M * keys,
    ops: OPS.score + rescale,
  };
}
