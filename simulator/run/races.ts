import { type HbmRange, type Program, QUEUES, type SramRange, sramReads, sramWrites } from '../program/isa.ts';
import { nameOf } from './costs.ts';
import { HazardError, type Ran, type Timeline } from './schedule.ts';

interface Access {
  range: SramRange;
  write: boolean;
  queue: number;
  /** How many instructions its queue had started, itself included. */
  count: number;
  ran: Ran;
}

/**
 * Checks that semaphores order every pair of accesses of which one writes the same bytes of SRAM or HBM, whatever the
 * timing happened to be, and that no SRAM is read that the program never wrote. Happens-before by vector clocks: a queue
 * orders its own instructions, the v-th signal of a semaphore happens before a wait for v. Throws HazardError.
 */
export function checkRaces(program: Program, timeline: Timeline): void {
  const n = program.tiles.length * QUEUES.length;
  const clocks = Array.from({ length: n }, () => new Int32Array(n));
  const snapshots: Int32Array[][] = Array.from({ length: program.semaphores }, () => []);
  const producer = new Int32Array(program.semaphores).fill(-1);
  const sram = program.tiles.map((): Access[] => []);
  const hbm = new Map<string, Access[]>();
  const stored = new Set(program.tiles.flat().flatMap((i) => (i.kind === 'dma' && i.queue === 'store' ? [i.hbm.buf] : [])));

  for (const ran of timeline.order) {
    const { instr } = ran;
    const queue = ran.tile * QUEUES.length + ran.queue;
    const clock = clocks[queue];
    for (let i = 0; i < instr.waits.length; i += 2) {
      const value = instr.waits[i + 1];
      if (value > 0) merge(clock, snapshots[instr.waits[i]][value - 1]);
    }
    clock[queue]++;
    const visit = (list: Access[], range: SramRange, write: boolean, where: () => string, mustExist: boolean): void => {
      check(program, list, { range, write, queue, count: clock[queue], ran }, clock, where, mustExist);
    };
    for (const r of sramReads(instr)) visit(sram[ran.tile], r, false, () => `SRAM of tile ${ran.tile}`, true);
    const targets = instr.kind === 'dma' && instr.queue === 'load' ? instr.tiles : [ran.tile];
    for (const w of sramWrites(instr)) for (const t of targets) visit(sram[t], w, true, () => `SRAM of tile ${t}`, false);
    if (instr.kind === 'dma' && stored.has(instr.hbm.buf)) {
      let list = hbm.get(instr.hbm.buf);
      if (!list) hbm.set(instr.hbm.buf, (list = []));
      for (const r of hbmRanges(instr.hbm)) visit(list, r, instr.queue === 'store', () => `HBM buffer ${instr.hbm.buf}`, false);
    }
    for (const s of instr.signals) {
      if (producer[s] >= 0 && producer[s] !== queue) throw new HazardError(`${program.name}: semaphore ${s} is signalled by two queues`);
      producer[s] = queue;
      snapshots[s].push(clock.slice());
    }
  }
}

function check(p: Program, list: Access[], a: Access, clock: Int32Array, where: () => string, mustExist: boolean): void {
  let found = false;
  let keep = 0;
  for (const b of list) {
    if (overlap(a.range, b.range)) {
      if (b.write) found = true;
      if ((a.write || b.write) && clock[b.queue] < b.count) {
        throw new HazardError(
          `${p.name}: ${where()}, bytes from ${a.range.at}: ${nameOf(a.ran.instr)} of tile ${a.ran.tile} ${a.write ? 'writes' : 'reads'} what ` +
            `${nameOf(b.ran.instr)} of tile ${b.ran.tile} ${b.write ? 'writes' : 'reads'}, and no semaphore orders them`,
        );
      }
      // an access that covers an earlier one stands for it from here on: whoever is ordered after this one is after that one
      if (same(a.range, b.range) && (a.write || (!b.write && b.queue === a.queue))) continue;
    }
    list[keep++] = b;
  }
  list.length = keep;
  list.push(a);
  if (mustExist && !found) {
    throw new HazardError(`${p.name}: ${nameOf(a.ran.instr)} of tile ${a.ran.tile} reads SRAM from ${a.range.at} that nothing wrote`);
  }
}

function merge(into: Int32Array, from: Int32Array): void {
  for (let i = 0; i < into.length; i++) if (from[i] > into[i]) into[i] = from[i];
}

function hbmRanges(h: HbmRange): SramRange[] {
  return h.starts.map((at) => ({ at, rows: h.rows, pitch: h.pitch, len: h.len }));
}

const same = (a: SramRange, b: SramRange): boolean => a.at === b.at && a.rows === b.rows && a.pitch === b.pitch && a.len === b.len;
const endOf = (r: SramRange): number => r.at + (r.rows - 1) * r.pitch + r.len;

/** Whether two strided ranges share a byte; exact for equal pitches, otherwise by their extents. */
export function overlap(a: SramRange, b: SramRange): boolean {
  if (a.rows === 0 || b.rows === 0 || a.at >= endOf(b) || b.at >= endOf(a)) return false;
  if (a.rows === 1 && b.rows === 1) return true;
  const pitch = a.rows === 1 ? b.pitch : a.pitch;
  if (a.rows > 1 && b.rows > 1 && a.pitch !== b.pitch) return true;
  // some k with a.at + k·pitch < b.at + b.len and b.at < a.at + k·pitch + a.len, k = i − j for rows i of a and j of b
  const delta = b.at - a.at;
  const lo = Math.max(Math.floor((delta - a.len) / pitch) + 1, -(b.rows - 1));
  const hi = Math.min(Math.ceil((delta + b.len) / pitch) - 1, a.rows - 1);
  return lo <= hi;
}
