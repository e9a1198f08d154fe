/**
 * QK-norm, rotation and the store into pages. The tokens of one page are one piece of work for one tile, because it
 * rewrites that page's layer as a whole: a page that the batch does not fill is loaded first.
 *
 * Arguments: x (qkv), table, slot (u32), y (q), kv (the layer's part of the pages), gq, gk, balance.
 */

import type { KvShape } from '../../engine/backend.ts';
import { kvHeadBytes, PAGE } from '../../engine/layout.ts';
import type { DeviceSpec } from '../device/spec.ts';
import { Builder, Ring } from '../program/builder.ts';
import type { Program } from '../program/isa.ts';
import { OPS } from '../vector/index.ts';
import { bytes, gather, load, type Options, span, store, vec } from './common.ts';

export interface RopeShape {
  readonly heads: number;
  readonly kv: KvShape;
  readonly pageBytes: number;
  readonly pos: readonly number[]; // [T]
  readonly slot: readonly number[]; // [T]
  /** eps of the QK-norm. */
  readonly norm?: number;
  /** Whether there is a balance, f32 [2, G·d]. */
  readonly balance?: boolean;
}

interface Run {
  page: number;
  from: number; // token
  n: number;
}

/** Runs of tokens of one page. Throws when a page comes back later in the batch. */
function pageRuns(slot: readonly number[]): Run[] {
  const runs: Run[] = [];
  const seen = new Set<number>();
  slot.forEach((s, t) => {
    const page = Math.floor(s / PAGE);
    const last = runs[runs.length - 1];
    if (last && last.page === page) last.n++;
    else if (seen.has(page)) throw new Error(`ropeStore: tokens of page ${page} are not next to each other in the batch`);
    else runs.push({ page, from: t, n: 1 });
    seen.add(page);
  });
  return runs;
}

export function compileRope(d: DeviceSpec, s: RopeShape, o: Options): Program {
  const { heads: H, kv } = s;
  const { headDim: dim, kvHeads: G } = kv;
  const T = s.pos.length;
  const width = (H + 2 * G) * dim;
  const layer = G * kvHeadBytes(kv);
  const b = new Builder(d, `ropeStore ${T}`, 6 * T * (H + G) * dim);
  const depth = o.doubleBuffer ? 2 : 1;
  const most = Math.min(PAGE, T);
  const x = new Ring(b, most * width * 4, depth, 'qkv');
  const small = new Ring(b, most * (dim * 4 + 4), depth, 'angles and slots');
  const page = new Ring(b, layer, depth, 'page');
  const q = new Ring(b, most * H * dim * 4, depth, 'q');
  // what is the same for all tokens: both gains, then the balance
  const parts = [
    ...(s.norm !== undefined
      ? ([
          ['gq', dim * 4],
          ['gk', dim * 4],
        ] as const)
      : []),
    ...(s.balance ? ([['balance', 2 * G * dim * 4]] as const) : []),
  ];
  const constantBytes = parts.reduce((n, [, size]) => n + size, 0);
  const constants = constantBytes > 0 ? new Ring(b, constantBytes, 1, 'gains and balance') : undefined;
  const loaded: number[] = []; // semaphores
  const partial = new Array<number>(b.tileCount).fill(0);

  const uses = new Array<number>(b.tileCount).fill(0);
  pageRuns(s.slot).forEach((run, i) => {
    const t = i % b.tileCount;
    const use = uses[t]++;
    const { from, n } = run;
    if (constants && use === 0) {
      let at = constants.at(0);
      const loads = parts.map(([name, size]) => load([t], span(name, 0, size), (at += size) - size));
      constants.load(b, t, loads, 0);
    }
    x.load(b, t, [load([t], span('x', from * width * 4, n * width * 4), x.at(use))], use);
    const starts = s.pos.slice(from, from + n).map((p) => p * dim * 4);
    const slots = small.at(use) + n * dim * 4;
    small.load(b, t, [load([t], gather('table', starts, dim * 4), small.at(use)), load([t], span('slot', from * 4, n * 4), slots)], use);
    const gains = s.norm !== undefined ? constants?.at(0) : undefined;
    const balance = s.balance && constants ? constants.at(0) + (gains !== undefined ? 2 * dim * 4 : 0) : undefined;
    const whole = n === PAGE;
    if (!whole) {
      const part = page.fillWithin(load([t], span('kv', run.page * s.pageBytes, layer), page.at(use)), t, use);
      part.signals.push((loaded[t] ??= b.semaphore()));
      partial[t]++;
      b.emit(t, part);
    }
    const params = {
      ...{ d: dim, heads: H, kvHeads: G, n, qkv: x.at(use), angles: small.at(use), slots, q: q.at(use), page: page.at(use) },
      ...{ headBytes: kvHeadBytes(kv), f32: kv.format === 'f32' ? 1 : 0, eps: s.norm ?? 0 },
      ...{ gq: gains ?? -1, gk: gains !== undefined ? gains + dim * 4 : -1, balance: balance ?? -1 },
    };
    const reads = [bytes(x.at(use), n * width * 4), bytes(small.at(use), n * (dim * 4 + 4))];
    if (constants) reads.push(bytes(constants.at(0), constantBytes));
    if (!whole) reads.push(bytes(page.at(use), layer));
    const ops = OPS.rope + (kv.format === 'i8' ? OPS.quantize : 0) + (gains !== undefined ? OPS.norm : 0) + (balance !== undefined ? 2 : 0);
    const instr = vec('rope', params, n * width, ops, reads, [bytes(q.at(use), n * H * dim * 4), bytes(page.at(use), layer)]);
    if (constants && use === 0) constants.take(instr, t, 0, false);
    x.take(instr, t, use);
    small.take(instr, t, use);
    if (whole) page.fillWithin(instr, t, use);
    else instr.waits.push(loaded[t], partial[t]);
    q.fill(instr, [t], use);
    b.emit(t, instr);
    b.emit(t, q.take(store(t, span('y', from * H * dim * 4, n * H * dim * 4), q.at(use)), t, use));
    // behind q's store in the queue, so it waits for the same
    b.emit(t, page.free(store(t, span('kv', run.page * s.pageBytes, layer), page.at(use)), t));
  });
  return b.finish();
}
