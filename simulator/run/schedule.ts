import { type DeviceSpec, tilesOf } from '../device/spec.ts';
import { bytesOf, type Dma, type Instr, type Program, QUEUES } from '../program/isa.ts';
import { burstBytes, hbmBytesPerCycle, hbmLatencyCycles, macsPerCycle, nameOf, tensorQueueCycles, vectorCycles } from './costs.ts';
import { Heap } from './heap.ts';

/** Thrown when a program cannot run to its end or accesses what nobody ordered. */
export class HazardError extends Error {
  override name = 'HazardError';
}

/** When every instruction of a program ran on one chip. Times are cycles from the launch. */
export interface Timeline {
  /** In the order in which they started. */
  readonly order: readonly Ran[];
  readonly cycles: number;
  /** Busy cycles summed over the tiles (hbm, noc: of the one resource they are). */
  readonly busy: { tensor: number; vector: number; load: number; store: number; hbm: number; noc: number };
  readonly hbmBytes: { read: number; written: number };
  /** Bytes that arrived in SRAM; more than read where a load went to several tiles. */
  readonly sramBytes: number;
  readonly macs: number;
}

export interface Ran {
  readonly tile: number;
  readonly queue: number; // index in QUEUES
  readonly instr: Instr;
  readonly start: number;
  readonly end: number;
}

/**
 * The event-driven timeline of a program on a chip. Each queue issues in order when its semaphores allow; HBM and the
 * NoC serve requests in the order of their issue, each at its rate; a DMA engine and a unit do one thing at a time.
 * A multiply drains through the vector unit of its tile and shares it with the vector queue.
 * Throws HazardError when queues wait for each other.
 */
export function schedule(d: DeviceSpec, program: Program): Timeline {
  const queues = program.tiles.flatMap((list, tile) =>
    QUEUES.map((q, i) =>
      newQueue(
        d,
        tile,
        i,
        list.filter((x) => x.queue === q),
      ),
    ),
  );
  const signals: number[][] = Array.from({ length: program.semaphores }, () => []);
  const waiters: QueueState[][] = Array.from({ length: program.semaphores }, () => []);
  const vectorFree = new Float64Array(tilesOf(d));
  const order: Ran[] = [];
  const busy = { tensor: 0, vector: 0, load: 0, store: 0, hbm: 0, noc: 0 };
  const hbmBytes = { read: 0, written: 0 };
  const hbmRate = hbmBytesPerCycle(d) * d.hbm.efficiency;
  const shared = { hbm: 0, noc: 0 };
  let sramBytes = 0;
  let macs = 0;
  let cycles = 0;
  const heap = new Heap();

  /** Puts the queue's head on the heap when its semaphores have been reached, or leaves the queue with the first that has not. */
  const offer = (q: QueueState): void => {
    const instr = q.list[q.head];
    if (!instr) return;
    let ready = Math.max(q.lastStart, earliest(q.free));
    for (let i = 0; i < instr.waits.length; i += 2) {
      const times = signals[instr.waits[i]];
      const value = instr.waits[i + 1];
      if (times.length < value) {
        waiters[instr.waits[i]].push(q);
        return;
      }
      if (value > 0) ready = Math.max(ready, times[value - 1]);
    }
    heap.push(ready, q.index);
  };

  const dma = (i: Dma, start: number, q: QueueState): number => {
    const runs = i.hbm.starts.length * i.hbm.rows;
    const moved = burstBytes(d, runs, i.hbm.len);
    const { dma: engine } = d.tile;
    const hbmCycles = moved / hbmRate;
    const nocCycles = bytesOf(i.hbm) / d.noc.bytesPerCycle;
    shared.hbm = Math.max(start, shared.hbm) + hbmCycles;
    shared.noc = Math.max(start, shared.noc) + nocCycles;
    const own = engine.startCycles + d.launch.instructionCycles + Math.max(bytesOf(i.hbm) / engine.bytesPerCycle, runs);
    const done = Math.max(start + own, shared.hbm, shared.noc);
    q.free[q.free.indexOf(earliest(q.free))] = done;
    busy[i.queue] += done - start;
    busy.hbm += hbmCycles;
    busy.noc += nocCycles;
    hbmBytes[i.queue === 'load' ? 'read' : 'written'] += bytesOf(i.hbm);
    sramBytes += bytesOf(i.hbm) * (i.queue === 'load' ? i.tiles.length : 1);
    return done + (i.queue === 'load' ? hbmLatencyCycles(d) + d.noc.latencyCycles : d.noc.latencyCycles);
  };

  /** Starts `instr` on its unit; returns when its results are there. */
  const start = (q: QueueState, instr: Instr, now: number): number => {
    if (instr.kind === 'dma') return dma(instr, now, q);
    if (instr.kind === 'vec') {
      const begin = Math.max(now, vectorFree[q.tile]);
      const own = vectorCycles(d, instr.elems, instr.ops) + d.launch.instructionCycles;
      busy.vector += own;
      vectorFree[q.tile] = begin + own;
      q.free[0] = begin + own;
      return begin + own;
    }
    const [tensor, vector] = tensorQueueCycles(d, instr);
    const fill = Math.min(tensor, d.tile.tensor.fillCycles);
    const drained = vector > 0 ? Math.max(now, vectorFree[q.tile]) + vector : now;
    if (vector > 0) vectorFree[q.tile] = drained;
    busy.tensor += tensor - fill;
    busy.vector += vector;
    if (instr.kind === 'mm') macs += instr.M * instr.N * instr.K;
    else macs += instr.timed.macs.reduce((n, [M, N, K]) => n + M * N * K, 0);
    q.free[0] = Math.max(now + tensor - fill, drained) + d.launch.instructionCycles;
    return q.free[0] + fill;
  };

  for (const q of queues) offer(q);
  for (let next = heap.pop(); next; next = heap.pop()) {
    const q = queues[next.item];
    const instr = q.list[q.head++];
    const end = Math.max(start(q, instr, next.time), q.lastEnd);
    q.lastEnd = end;
    q.lastStart = next.time;
    cycles = Math.max(cycles, end);
    order.push({ tile: q.tile, queue: q.kind, instr, start: next.time, end });
    for (const s of instr.signals) {
      const times = signals[s];
      times.push(end + d.launch.semaphoreCycles);
      const waiting = waiters[s];
      waiters[s] = [];
      for (const w of waiting) offer(w);
    }
    offer(q);
  }
  const stuck = queues.find((q) => q.head < q.list.length);
  if (stuck) {
    const instr = stuck.list[stuck.head];
    const on = instr.waits.find((s, i) => i % 2 === 0 && signals[s].length < instr.waits[i + 1]);
    throw new HazardError(
      `${program.name}: tile ${stuck.tile} waits for ever in its ${QUEUES[stuck.kind]} queue: ${nameOf(instr)} needs semaphore ${on} at ` +
        `${instr.waits[instr.waits.indexOf(on as number) + 1]}, it stays at ${signals[on as number].length}`,
    );
  }
  return { order, cycles, busy, hbmBytes, sramBytes, macs };
}

function earliest(free: readonly number[]): number {
  let t = free[0];
  for (let i = 1; i < free.length; i++) if (free[i] < t) t = free[i];
  return t;
}

interface QueueState {
  index: number;
  tile: number;
  kind: number;
  list: Instr[];
  head: number;
  /** When each engine (DMA) or the unit takes its next instruction. */
  free: number[];
  /** A queue issues in order even with several engines. */
  lastStart: number;
  lastEnd: number;
}

function newQueue(d: DeviceSpec, tile: number, kind: number, list: Instr[]): QueueState {
  const { engines } = d.tile.dma;
  const n = kind === 0 ? Math.ceil(engines / 2) : kind === 1 ? Math.floor(engines / 2) : 1;
  return { index: tile * QUEUES.length + kind, tile, kind, list, head: 0, free: new Array(n).fill(0), lastStart: 0, lastEnd: 0 };
}

/** Cycles that no schedule can beat: all MACs at peak on every tile, or all bytes at HBM's peak. */
export function boundCycles(d: DeviceSpec, macs: number, format: Parameters<typeof macsPerCycle>[1], bytes: number): number {
  return Math.max(macs / (macsPerCycle(d, format) * tilesOf(d)), bytes / hbmBytesPerCycle(d));
}
