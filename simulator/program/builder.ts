import { type DeviceSpec, tilesOf } from '../device/spec.ts';
import type { Dma, Instr, Program } from './isa.ts';

const ALIGN = 64;

/** Thrown when a tiling needs more SRAM than a tile has; the planner tries a smaller one. */
export class SramError extends Error {
  override name = 'SramError';
}

/** Writes a program: hands out SRAM and semaphores, and takes instructions tile by tile. */
export class Builder {
  readonly device: DeviceSpec;
  readonly tileCount: number;
  private readonly program: Program;

  constructor(device: DeviceSpec, name: string, flops = 0) {
    this.device = device;
    this.tileCount = tilesOf(device);
    const tiles = Array.from({ length: this.tileCount }, (): Instr[] => []);
    this.program = { name, tiles, semaphores: 0, sramBytes: 0, sram: [], flops };
  }

  /** SRAM at the same address of every tile. Throws SramError with the arithmetic. */
  alloc(bytes: number, label: string): number {
    const at = Math.ceil(this.program.sramBytes / ALIGN) * ALIGN;
    const limit = this.device.tile.sramKiB * 1024;
    if (!(bytes >= 0) || at + bytes > limit) {
      const used = this.program.sram.map((s) => `${s.label} ${s.bytes}`).join(' + ');
      throw new SramError(
        `${this.program.name}: ${used} + ${label} ${bytes} bytes are more than the ${limit} bytes of a tile of ${this.device.name}`,
      );
    }
    this.program.sram.push({ label, at, bytes });
    this.program.sramBytes = at + bytes;
    return at;
  }

  semaphore(): number {
    return this.program.semaphores++;
  }

  emit(tile: number, instr: Instr): void {
    this.program.tiles[tile].push(instr);
  }

  finish(): Program {
    return this.program;
  }
}

/**
 * `depth` equal pieces of SRAM used in turn, with a `full` and an `empty` semaphore on every tile: filling waits until
 * the use before last is over, taking waits until it is filled. Depth 2 is double buffering. Use u lies in piece
 * u mod depth; every tile that takes part goes through the uses 0, 1, 2 … in order.
 */
export class Ring {
  readonly depth: number;
  private readonly bytes: number;
  private readonly base: number;
  private readonly full: number[];
  private readonly empty: number[];

  constructor(b: Builder, bytes: number, depth: number, label: string) {
    this.bytes = Math.ceil(bytes / ALIGN) * ALIGN;
    this.depth = depth;
    this.base = b.alloc(this.bytes * depth, label);
    this.full = Array.from({ length: b.tileCount }, () => b.semaphore());
    this.empty = Array.from({ length: b.tileCount }, () => b.semaphore());
  }

  /** SRAM a ring takes. */
  static size(bytes: number, depth: number): number {
    return Math.ceil(bytes / ALIGN) * ALIGN * depth;
  }

  at(use: number): number {
    return this.base + (use % this.depth) * this.bytes;
  }

  /** `instr` fills the piece on each of `tiles`. Of several that fill one piece from the same queue, the first waits, the last signals. */
  fill<I extends Instr>(instr: I, tiles: readonly number[], use: number, part: 'all' | 'first' | 'middle' | 'last' = 'all'): I {
    for (const t of tiles) {
      if ((part === 'all' || part === 'first') && use >= this.depth) instr.waits.push(this.empty[t], use - this.depth + 1);
      if (part === 'all' || part === 'last') instr.signals.push(this.full[t]);
    }
    return instr;
  }

  /** Loads of one queue that fill one piece on each of `tiles`; large ones are split over the tile's load engines. */
  load(b: Builder, issuer: number, loads: readonly Dma[], use: number): void {
    const engines = Math.ceil(b.device.tile.dma.engines / 2);
    const all = loads.flatMap((l) => split(l, engines));
    all.forEach((l, i) => {
      b.emit(issuer, this.fill(l, l.tiles, use, all.length === 1 ? 'all' : i === 0 ? 'first' : i === all.length - 1 ? 'last' : 'middle'));
    });
  }

  /** `instr` on `tile` needs the piece; with `last` it is also the one that frees it. */
  take<I extends Instr>(instr: I, tile: number, use: number, last = true): I {
    instr.waits.push(this.full[tile], use + 1);
    if (last) instr.signals.push(this.empty[tile]);
    return instr;
  }

  /** `instr` fills the piece without a signal of its own: some other semaphore orders its reader. */
  fillWithin<I extends Instr>(instr: I, tile: number, use: number): I {
    if (use >= this.depth) instr.waits.push(this.empty[tile], use - this.depth + 1);
    return instr;
  }

  /** `instr`, later in the queue of one that took the piece, frees it. */
  free<I extends Instr>(instr: I, tile: number): I {
    instr.signals.push(this.empty[tile]);
    return instr;
  }
}

const SPLIT_BYTES = 4096;

/** Up to `n` loads that do what one does. */
function split(l: Dma, n: number): Dma[] {
  const { starts, rows, pitch, len } = l.hbm;
  const parts = Math.min(n, Math.floor((starts.length * rows * len) / SPLIT_BYTES));
  if (parts < 2) return [l];
  if (starts.length === 1 && rows === 1) {
    return ranges(len, parts, 64).map(([a, b]) => ({
      ...l,
      hbm: { ...l.hbm, starts: [starts[0] + a], len: b - a },
      at: l.at + a,
      pitch: b - a,
      waits: [],
      signals: [],
    }));
  }
  if (starts.length === 1) {
    return ranges(rows, Math.min(parts, rows), 1).map(([a, b]) => ({
      ...l,
      hbm: { ...l.hbm, starts: [starts[0] + a * pitch], rows: b - a },
      ...{ at: l.at + a * l.pitch, waits: [], signals: [] },
    }));
  }
  return ranges(starts.length, Math.min(parts, starts.length), 1).map(([a, b]) => ({
    ...l,
    hbm: { ...l.hbm, starts: starts.slice(a, b) },
    ...{ at: l.at + a * rows * l.pitch, waits: [], signals: [] },
  }));
}

function ranges(total: number, parts: number, unit: number): [number, number][] {
  const at = (i: number) => Math.min(total, Math.floor((Math.ceil(total / unit) * i) / parts) * unit);
  return Array.from({ length: parts }, (_, i): [number, number] => [at(i), at(i + 1)]).filter(([a, b]) => b > a);
}
