/** What the backend records: an op to be, with the buffers it reads and writes. */
import type { Act, Activation, AttentionOptions, Batch, Buf, KvPool, TopkOut, Weight } from '../engine/backend.ts';
import { kvHeadBytes, PAGE } from '../engine/layout.ts';
import { type NpuBuf, npuBuf } from './buffers.ts';
import type { Op } from './ops/index.ts';
import type { OutsideShape } from './ops/outside.ts';
import { ACT_BLOCK, type TimedFormat } from './program/isa.ts';
import type { Bindings } from './run/memory.ts';

export interface Command {
  /** Made when it is its turn: shapes of some ops are read from buffers that earlier commands fill. */
  op(): Op;
  bind(chip: number): Bindings;
  readonly reads: readonly NpuBuf[];
  readonly writes: readonly NpuBuf[];
  /** What chips exchange afterwards: a buffer of `rows` rows, `pitch` bytes apart, that holds `scale` bytes a column. */
  readonly gather: readonly { buf: NpuBuf; pitch: number; scale: number; rows: number }[];
  readonly norm?: { x: NpuBuf; g: NpuBuf; out: NpuBuf; n: number; eps: number };
  readonly matmul?: { y: NpuBuf; x: Act; w: Weight; T: number; bias?: NpuBuf; accumulate: boolean };
  readonly swiglu?: { x: NpuBuf; out: Act; T: number; F: number };
}

/** A window that no position leaves. */
const ALL = 0x7fffffff;

/** Number formats that are timed and have no function here; they stand in for the weights' own. */
export const TIMED_NUMBERS = ['bf16', 'fp8'] as const satisfies readonly TimedFormat[];
export type TimedNumbers = (typeof TIMED_NUMBERS)[number];

/** The lists of a batch, read once and shared by its layers (their identity keys compiled programs). */
export type Lists = (buf: Buf, count: number) => readonly number[];

const bufs = (...list: (Buf | null | undefined)[]): NpuBuf[] => list.filter((b) => b !== null && b !== undefined).map(npuBuf);

export function embedCommand(x: Buf, w: Weight, ids: Buf, T: number, scale: number, lists: Lists): Command {
  const [out, weight, index] = bufs(x, w.data, ids);
  return {
    op: () => ({ kind: 'embed', format: w.format, V: w.N, D: w.K, scale, ids: lists(ids, T) }),
    bind: (c) => ({ w: weight.bind(c), ids: index.bind(c), y: out.bindOwn(c) }),
    reads: [weight, index],
    writes: [out],
    gather: [],
  };
}

export function normCommand(out: Act, x: Buf, g: Buf, eps: number, n: number, D: number, rows: Buf | undefined, lists: Lists): Command {
  const [y, source, gain] = bufs(out.data, x, g);
  return {
    op: () => ({ kind: 'norm', n, D, eps, quant: out.format === 'i8', rows: rows && lists(rows, n) }),
    bind: (c) => ({ x: source.bind(c), g: gain.bind(c), y: y.bindOwn(c) }),
    reads: [source, gain, ...bufs(rows)],
    writes: [y],
    gather: [],
    norm: rows ? undefined : { x: source, g: gain, out: y, n, eps },
  };
}

export function addNormCommand(x: Buf, y: Buf, g: Buf, eps: number, T: number, D: number): Command {
  const [stream, branch, gain] = bufs(x, y, g);
  return {
    op: () => ({ kind: 'addNorm', n: T, D, eps }),
    bind: (c) => ({ y: branch.bind(c), g: gain.bind(c), x: stream.bindOwn(c) }),
    reads: [stream, branch, gain],
    writes: [stream],
    gather: [],
  };
}

const actGather = (a: Act, rows: number) => {
  const scale = a.format === 'f32' ? 4 : ACT_BLOCK / 32;
  return [{ buf: npuBuf(a.data), pitch: a.K * scale, scale, rows }];
};

/** A matmul, with a norm before it or a swiglu behind it when they are given. */
export function matmulCommand(
  m: NonNullable<Command['matmul']>,
  norm?: Command['norm'],
  swiglu?: Command['swiglu'],
  as?: TimedNumbers,
): Command {
  const { w, T } = m;
  const x = npuBuf(m.x.data);
  const weight = npuBuf(w.data);
  const source = norm ? [norm.x, norm.g] : [x];
  const out = swiglu ? npuBuf(swiglu.out.data) : m.y;
  return {
    op: () => ({
      ...{ kind: 'matmul', T, N: w.N, K: w.K, format: as ?? w.format, bias: m.bias !== undefined, accumulate: m.accumulate },
      ...{ norm: norm?.eps, swiglu: swiglu !== undefined, out: as && !m.accumulate ? 'bf16' : swiglu?.out.format === 'i8' ? 'i8' : 'f32' },
    }),
    bind: (c) => ({
      ...(norm ? { x: norm.x.bind(c), g: norm.g.bind(c) } : { x: x.bind(c) }),
      w: weight.bind(c),
      y: out.bindOwn(c),
      ...(m.bias && { bias: m.bias.bind(c) }),
    }),
    reads: [...source, weight, ...bufs(m.bias), ...(m.accumulate ? [m.y] : [])],
    writes: [out],
    gather: swiglu ? actGather(swiglu.out, T) : [{ buf: m.y, pitch: w.N * 4, scale: 4, rows: T }],
    matmul: m,
  };
}

export function ropeCommand(
  ...[q, kv, qkv, table, batch, layer, heads, lists, qkNorm, balance]: [
    Buf,
    KvPool,
    Buf,
    Buf,
    Batch,
    number,
    number,
    Lists,
    { q: Buf; k: Buf; eps: number } | undefined,
    Buf | undefined,
  ]
): Command {
  const [out, pages, x, angles, slot] = bufs(q, kv.data, qkv, table, batch.slot);
  const T = batch.T;
  const base = layer * kv.shape.kvHeads * kvHeadBytes(kv.shape);
  const gains = qkNorm && bufs(qkNorm.q, qkNorm.k);
  const [balanced] = bufs(balance);
  return {
    op: () => {
      const slots = lists(batch.slot, T);
      const wrong = slots.find((s) => s >= kv.pages * PAGE);
      if (wrong !== undefined) throw new Error(`ropeStore: slot ${wrong} is outside the pool of ${kv.pages} pages`);
      return {
        kind: 'rope',
        heads,
        kv: kv.shape,
        pageBytes: kv.pageBytes,
        pos: lists(batch.pos, T),
        slot: slots,
        norm: qkNorm?.eps,
        balance: !!balanced,
      };
    },
    bind: (c) => ({
      ...{ x: x.bind(c), table: angles.bind(c), slot: slot.bind(c), y: out.bindOwn(c), kv: pages.bindOwn(c, base) },
      ...(gains && { gq: gains[0].bind(c), gk: gains[1].bind(c) }),
      ...(balanced && { balance: balanced.bind(c) }),
    }),
    reads: [x, angles, slot, pages, ...(gains ?? []), ...bufs(balance)],
    writes: [out, pages],
    gather: [],
  };
}

/** Block tables as lists, made once a batch. */
export type Tables = (batch: Batch, pages: number) => readonly (readonly number[])[];

export function attentionCommand(
  ...[out, q, kv, batch, layer, heads, lists, tables, opts]: [Act, Buf, KvPool, Batch, number, number, Lists, Tables, AttentionOptions]
): Command {
  const [y, x, pages, pos, seqOf, blocks] = bufs(out.data, q, kv.data, batch.pos, batch.seqOf, batch.blocks);
  const T = batch.T;
  const base = layer * kv.shape.kvHeads * kvHeadBytes(kv.shape);
  return {
    op: () => ({
      ...{ kind: 'attention', heads, kv: kv.shape, pageBytes: kv.pageBytes, quant: out.format === 'i8' },
      ...{ sigma: Math.fround(opts.scale ?? 1 / Math.fround(Math.sqrt(kv.shape.headDim))), window: opts.window ?? ALL },
      ...{ pos: lists(batch.pos, T), seqOf: lists(batch.seqOf, T), blocks: tables(batch, kv.pages) },
    }),
    bind: (c) => ({
      ...{ x: x.bind(c), pos: pos.bind(c), kv: pages.bind(c, base) },
      ...{ y: y.bindOwn(c) },
    }),
    reads: [x, pages, pos, seqOf, blocks],
    writes: [y],
    gather: actGather(out, T),
  };
}

export function gluCommand(out: Act, gateUp: Buf, T: number, F: number, activation: Activation): Command {
  const [y, x] = bufs(out.data, gateUp);
  return {
    op: () => ({ kind: 'glu', T, F, quant: out.format === 'i8', activation }),
    bind: (c) => ({ x: x.bind(c), y: y.bindOwn(c) }),
    reads: [x],
    writes: [y],
    gather: [],
    ...(activation === 'silu' && { swiglu: { x, out, T, F } }), // what a matmul can take along
  };
}

export function editCommand(logits: Buf, R: number, V: number, edits: Buf | null, E: number, mask: Buf | null, lists: Lists): Command {
  const [x] = bufs(logits);
  return {
    op: () => {
      const words = edits ? lists(edits, E * 4) : [];
      const pairs = Array.from({ length: edits ? E : 0 }, (_, e): [number, number] => [words[e * 4], words[e * 4 + 1]]);
      return { kind: 'edit', R, V, edits: pairs, mask: mask !== null };
    },
    bind: (c) => ({ x: x.bindOwn(c), edits: npuBuf(edits ?? logits).bind(c), mask: npuBuf(mask ?? logits).bind(c) }),
    reads: [x, ...bufs(edits, mask)],
    writes: [x],
    gather: [],
  };
}

export function topkCommand(out: TopkOut, logits: Buf, invTemp: Buf, R: number, V: number): Command {
  const [y, x, t] = bufs(out.data, logits, invTemp);
  return {
    op: () => ({ kind: 'topk', R, V, K: out.K }),
    bind: (c) => ({ x: x.bind(c), invTemp: t.bind(c), y: y.bindOwn(c) }),
    reads: [x, t],
    writes: [y],
    gather: [],
  };
}

export function copyCommand(kv: KvPool, pairs: Uint32Array): Command {
  const [pages] = bufs(kv.data);
  const list = Array.from(pairs);
  return {
    op: () => {
      const wrong = list.find((p) => p >= kv.pages);
      if (wrong !== undefined) throw new Error(`copyPages: page ${wrong} is outside the pool of ${kv.pages}`);
      return { kind: 'copy', pairs: list, page: kv.pageBytes };
    },
    bind: (c) => ({ kv: pages.bindOwn(c) }),
    reads: [pages],
    writes: [pages],
    gather: [],
  };
}

export function outsideCommand(op: string, shape: OutsideShape, args: Readonly<Record<string, Buf>>, writes: readonly string[]): Command {
  const named = Object.entries(args).map(([name, buf]) => [name, npuBuf(buf)] as const);
  const missing = writes.find((w) => !Object.hasOwn(args, w));
  if (missing !== undefined) throw new Error(`${op}: writes ${missing}, which is none of its arguments ${Object.keys(args).join(', ')}`);
  return {
    op: () => ({ kind: 'outside', op, shape }),
    bind: (c) => Object.fromEntries(named.map(([name, buf]) => [name, writes.includes(name) ? buf.bindOwn(c) : buf.bind(c)])),
    reads: named.filter(([name]) => !writes.includes(name)).map(([, buf]) => buf),
    writes: named.filter(([name]) => writes.includes(name)).map(([, buf]) => buf),
    gather: [],
  };
}
