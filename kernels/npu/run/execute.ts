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
      const fn = vectorFunctions[instr.fn];
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
      if (i.queue === 'load') copy(sram.u8, at, b.bytes, from, len);
      else copy(b.bytes, from, sram.u8, at, len);
    }
  }
}

/** A view costs as much as copying a few hundred bytes one by one. */
const SHORT = 64;

function copy(to: Uint8Array, at: number, source: Uint8Array, from: number, len: number): void {
  if (len > SHORT) to.set(source.subarray(from, from + len), at);
  else for (let k = 0; k < len; k++) to[at + k] = source[from + k];
}
