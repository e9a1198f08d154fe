import { outsideFunction } from '../ops/outside.ts';
import type { Dma, Program } from '../program/isa.ts';
import { attend } from '../vector/attention.ts';
import { vectorFunctions } from '../vector/index.ts';
import type { Bindings, Sram, Tiles } from './memory.ts';
import { multiply } from './multiply.ts';
import { HazardError, type Ran, type Timeline } from './schedule.ts';

/** Effects of a timeline in the order of their time: a load lands when it is done, everything else reads when it starts. */
export function effects(timeline: Timeline): readonly Ran[] {
  const at = (r: Ran): number => (r.instr.kind === 'dma' && r.instr.queue === 'load' ? r.end : r.start);
  return timeline.order
    .map((ran, i) => ({ ran, i, at: at(ran) }))
    .sort((a, b) => a.at - b.at || a.i - b.i)
    .map((e) => e.ran);
}

/** Runs a program's effects on real bytes: the tiles' SRAM and the HBM its arguments are bound to. */
export function execute(program: Program, order: readonly Ran[], tiles: Tiles, bindings: Bindings): void {
  const sram = program.tiles.map((list, t) => (list.length > 0 ? tiles.get(t, program.sramBytes) : undefined));
  for (const { tile, instr } of order) {
    const own = sram[tile] as Sram;
    if (instr.kind === 'dma') {
      for (const t of instr.tiles) transfer(program, instr, (sram[t] ??= tiles.get(t, program.sramBytes)), bindings);
    } else if (instr.kind === 'mm') multiply(own, instr);
    else if (instr.kind === 'attend') attend(own, instr.p);
    else {
      const fn = vectorFunctions[instr.fn] ?? outsideFunction(instr.fn);
      if (!fn) throw new Error(`${program.name}: the vector unit has no function ${instr.fn}`);
      fn(own, instr.p);
    }
  }
}

function transfer(program: Program, i: Dma, sram: Sram, bindings: Bindings): void {
  const b = bindings[i.hbm.buf];
  if (!b) throw new Error(`${program.name}: argument ${i.hbm.buf} is not bound`);
  const { starts, pitch } = i.hbm;
  // rows that lie one behind the other on both sides are one
  const whole = pitch === i.hbm.len && i.pitch === i.hbm.len;
  const rows = whole ? 1 : i.hbm.rows;
  const len = whole ? i.hbm.len * i.hbm.rows : i.hbm.len;
  const step = whole ? len : i.pitch;
  const load = i.queue === 'load';
  const short = len <= SHORT && ((b.base | i.at | pitch | step | len | b.bytes.byteOffset) & 3) === 0;
  const hbm = short ? wordsOf(b.bytes) : undefined;
  let at = i.at;
  for (const start of starts) {
    for (let r = 0; r < rows; r++, at += step) {
      const from = b.base + start + r * pitch;
      if (from < 0 || from + len > b.bytes.length) {
        throw new HazardError(`${program.name}: DMA of ${i.hbm.buf} at ${from}, ${len} bytes, is outside its ${b.bytes.length} bytes`);
      }
      if (at < 0 || at + len > program.sramBytes) {
        throw new HazardError(
          `${program.name}: DMA of ${i.hbm.buf} at SRAM ${at}, ${len} bytes, is outside the ${program.sramBytes} bytes allocated`,
        );
      }
      if (hbm && (start & 3) === 0) {
        if (load) copyWords(sram.u32, at >> 2, hbm, from >> 2, len >> 2);
        else copyWords(hbm, from >> 2, sram.u32, at >> 2, len >> 2);
      } else if (load) sram.u8.set(b.bytes.subarray(from, from + len), at);
      else b.bytes.set(sram.u8.subarray(at, at + len), from);
    }
  }
}

/** Up to here copying words costs less than making a view. */
const SHORT = 256;

function copyWords(to: Uint32Array, at: number, source: Uint32Array, from: number, n: number): void {
  for (let k = 0; k < n; k++) to[at + k] = source[from + k];
}

const words = new WeakMap<Uint8Array, Uint32Array>();

/** A buffer's bytes as words: its length is rounded down to whole ones. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  let view = words.get(bytes);
  if (!view) words.set(bytes, (view = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)));
  return view;
}
