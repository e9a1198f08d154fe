import type { Act, Backend, Batch, Buf, KvPool } from '../engine/backend.ts';
import { pageBytes } from '../engine/layout.ts';
import { actBufBytes, NpuBuf as Buffer, type NpuBuf, npuBuf } from './buffers.ts';
import {
  addNormCommand,
  attentionCommand,
  type Command,
  copyCommand,
  editCommand,
  embedCommand,
  gluCommand,
  matmulCommand,
  normCommand,
  outsideCommand,
  ropeCommand,
  type TimedNumbers,
  topkCommand,
} from './commands.ts';
import type { DeviceSpec } from './device/spec.ts';
import { fuse } from './fuse.ts';
import { share } from './ops/index.ts';
import type { OutsideShape } from './ops/outside.ts';
import { type Launch, Machine, type MachineOptions } from './run/machine.ts';

export interface NpuOptions extends MachineOptions {
  /** Called after each launch, in order: what ran and how long it took on the device. */
  onLaunch?: (launch: Launch) => void;
  /** Times ops and computes nothing: weights need no bytes, `read` refuses. What metadata the host writes is kept. */
  timingOnly?: boolean;
  /** With timingOnly: matmuls in this format instead of their weights'. */
  numbers?: TimedNumbers;
}

export interface Npu extends Backend {
  readonly machine: Machine;
  /** Records an op from outside (ops/outside.ts) with its program's arguments; `writes` names those that it fills. */
  outside(op: string, shape: OutsideShape, args: Readonly<Record<string, Buf>>, writes: readonly string[]): void;
  /** Device time of everything submitted so far. */
  readonly deviceUs: number;
}

/**
 * The simulated accelerator as a backend: ops become tile programs that move and compute real bytes, and their timeline.
 * Bits are exact-1's, whatever the device, the number of chips and the options.
 */
export function createNpu(device: DeviceSpec, opts: NpuOptions = {}): Npu {
  const timingOnly = opts.timingOnly ?? false;
  const numbers = timingOnly ? opts.numbers : undefined;
  if (!timingOnly && (opts.numbers || opts.collective === 'reduce-scatter')) {
    throw new Error(`${opts.numbers ?? 'reduce-scatter'} does not keep exact-1's bits: it can only be timed (timingOnly)`);
  }
  const machine = new Machine(device, opts);
  const limit = device.hbm.GB * 1e9;
  let used = 0;
  let deviceUs = 0;
  let recorded: (Command | { write: NpuBuf; bytes: Uint8Array; offset: number })[] = [];
  let disposed = false;
  // lists read from buffers in this submit; a write to the buffer makes its list anew
  const read = new Map<Buf, Map<number, readonly number[]>>();
  const tablesRead = new Map<Buf, Map<number, readonly (readonly number[])[]>>();

  const alloc = (bytes: number, label: string): NpuBuf => {
    if (!Number.isSafeInteger(bytes) || bytes < 0 || used + bytes > limit) {
      throw new Error(`${device.name}: ${label} needs ${bytes} bytes, ${used} of the ${limit} bytes of HBM are taken`);
    }
    used += bytes;
    return new Buffer(label, bytes, machine.chips, !timingOnly);
  };

  const lists = (buf: Buf, count: number): readonly number[] => {
    let own = read.get(buf);
    if (!own) read.set(buf, (own = new Map()));
    let list = own.get(count);
    if (!list) own.set(count, (list = npuBuf(buf).u32(count)));
    return list;
  };

  const tables = (batch: Batch, pages: number): readonly (readonly number[])[] => {
    const { blocks, S, maxBlocks } = batch;
    let own = tablesRead.get(blocks);
    if (!own) tablesRead.set(blocks, (own = new Map()));
    let made = own.get(S);
    if (!made) {
      const all = npuBuf(blocks).u32(S * maxBlocks);
      own.set(
        S,
        (made = Array.from({ length: S }, (_, s) => all.slice(s * maxBlocks, (s + 1) * maxBlocks).map((p) => Math.min(p, pages - 1)))),
      );
    }
    return made;
  };

  const record = (c: Command): void => {
    if (disposed) throw new Error('the NPU backend was disposed');
    recorded.push(c);
  };

  const exchange = (c: Command): void => {
    if (machine.chips < 2 || c.gather.length === 0) return;
    const op = c.op();
    for (const { buf, pitch, scale, rows } of c.gather) {
      const parts = Array.from({ length: machine.chips }, (_, chip) => ({ from: share(op, chip, machine.chips), bytes: buf.own(chip) }));
      parts.forEach((p, chip) => {
        const [a, b] = p.from;
        parts.forEach((to, other) => {
          if (other === chip || a === b) return;
          for (let r = 0; r < rows; r++) {
            const at = r * pitch;
            to.bytes.set(p.bytes.subarray(at + a * scale, at + b * scale), at + a * scale);
          }
        });
      });
    }
  };

  const runCommand = (c: Command): void => {
    for (const b of c.reads)
      if (b.fusedAway) throw new Error(`${b.label} was fused into its reader and never filled; turn fusion off to read it`);
    const launch = timingOnly ? machine.time(c.op()) : machine.run(c.op(), (chip) => c.bind(chip));
    if (!timingOnly) exchange(c);
    for (const b of c.writes) b.fusedAway = false;
    deviceUs += launch.us;
    opts.onLaunch?.(launch);
  };

  const flush = (): void => {
    const list = recorded;
    recorded = [];
    read.clear();
    tablesRead.clear();
    for (let i = 0; i < list.length; ) {
      const c = list[i];
      if ('write' in c) {
        c.write.write(c.bytes, c.offset);
        c.write.fusedAway = false;
        read.delete(c.write);
        tablesRead.delete(c.write);
        i++;
        continue;
      }
      let end = i;
      while (end < list.length && !('write' in list[end])) end++;
      const commands = list.slice(i, end) as Command[];
      for (let j = 0; j < commands.length; ) {
        const { command, length, left } = fuse(machine, commands, j, numbers);
        runCommand(command);
        for (const b of left) b.fusedAway = true;
        j += length;
      }
      i = end;
    }
  };

  const bounds = (buf: Buf, offset: number, bytes: number): void => {
    if (!(offset >= 0 && bytes >= 0 && offset + bytes <= buf.bytes))
      throw new Error(`${buf.label}: ${offset} + ${bytes} is outside its ${buf.bytes} bytes`);
  };

  return {
    name: `npu:${device.name}`,
    numerics: 'exact-1',
    machine,
    get deviceUs() {
      return deviceUs;
    },

    alloc,
    act: (format, rows, K, label): Act => ({ format, rows, K, data: alloc(actBufBytes(format, rows, K), label) }),
    kvPool(shape, pages): KvPool {
      if (shape.format === 'i8v4') throw new Error(`${device.name} has no pages with values of 4 bits (KV=i8v4): use i8 or f32`);
      return { shape, pages, pageBytes: pageBytes(shape), data: alloc(pages * pageBytes(shape), 'kv pages') };
    },

    embed: (x, w, ids, T, scale = 1) => record(embedCommand(x, w, ids, T, scale, lists)),
    norm: (out, x, g, eps, n, D, rows) => record(normCommand(out, x, g, eps, n, D, rows, lists)),
    matmul: (y, x, w, T, o = {}) =>
      record(
        matmulCommand(
          { y: npuBuf(y), x, w, T, bias: o.bias && npuBuf(o.bias), accumulate: o.accumulate ?? false },
          undefined,
          undefined,
          numbers,
        ),
      ),
    ropeStore: (q, kv, qkv, table, batch, layer, heads, qkNorm, balance) =>
      record(ropeCommand(q, kv, qkv, table, snapshot(batch), layer, heads, lists, qkNorm, balance)),
    attention: (out, q, kv, batch, layer, heads, opts = {}) =>
      record(attentionCommand(out, q, kv, snapshot(batch), layer, heads, lists, tables, opts)),
    glu: (out, gateUp, T, F, activation) => record(gluCommand(out, gateUp, T, F, activation)),
    addNorm: (x, y, g, eps, T, D) => record(addNormCommand(x, y, g, eps, T, D)),
    editLogits: (logits, R, V, edits, E, mask) => record(editCommand(logits, R, V, edits, E, mask, lists)),
    topk: (out, logits, invTemp, R, V) => record(topkCommand(out, logits, invTemp, R, V)),
    copyPages: (kv, pairs) => record(copyCommand(kv, pairs)),
    outside: (op, shape, args, writes) => record(outsideCommand(op, shape, args, writes)),

    write(buf, bytes, offset = 0) {
      bounds(buf, offset, bytes.length);
      recorded.push({ write: npuBuf(buf), bytes: bytes.slice(), offset });
    },
    async submit() {
      flush();
    },
    async read(buf, offset, bytes) {
      bounds(buf, offset, bytes);
      flush();
      if (timingOnly) throw new Error(`${device.name} only times here: there is nothing to read`);
      const b = npuBuf(buf);
      if (b.fusedAway) throw new Error(`${b.label} was fused into its reader and never filled; turn fusion off to read it`);
      return b.on(0).slice(offset, offset + bytes);
    },
    dispose() {
      recorded = [];
      disposed = true;
    },
  };
}

/** Counts of a batch change from step to step; a command keeps those of its own. */
const snapshot = (b: Batch): Batch => ({
  ...{
    T: b.T,
    S: b.S,
    R: b.R,
    ids: b.ids,
    pos: b.pos,
    slot: b.slot,
    seqOf: b.seqOf,
    blocks: b.blocks,
    maxBlocks: b.maxBlocks,
    rows: b.rows,
  },
});
