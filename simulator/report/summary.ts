import { type DeviceSpec, peakTops, tilesOf } from '../device/spec.ts';
import type { Launch } from '../run/machine.ts';

/** What a run of launches took, where the time went, and how busy each unit was. */
export interface Summary {
  readonly launches: number;
  readonly us: number;
  /** Time by part: kind of op, launching, links. Adds up to `us`. */
  readonly parts: Readonly<Record<string, number>>;
  readonly flops: number;
  readonly bytes: { readonly read: number; readonly written: number; readonly sram: number; readonly link: number };
  /** Part of the time that all tiles' units (or the one HBM, NoC) were busy, 0..1, on the slowest chip. */
  readonly busy: { readonly tensor: number; readonly vector: number; readonly dma: number; readonly hbm: number; readonly noc: number };
  /** The roofline of one chip: what it did for each byte, what it reached, and what bounds that. */
  readonly roofline: {
    readonly flopsPerByte: number;
    readonly tops: number;
    readonly peakTops: number;
    readonly ridge: number;
    readonly bound: 'compute' | 'memory';
    /** Reached part of what the roofline allows there. */
    readonly reached: number;
  };
}

/** Adds up launches. flops and bytes of the roofline are one chip's. */
export function summarize(d: DeviceSpec, launches: readonly Launch[], chips = 1): Summary {
  const parts: Record<string, number> = {};
  const bytes = { read: 0, written: 0, sram: 0, link: 0 };
  const busy = { tensor: 0, vector: 0, dma: 0, hbm: 0, noc: 0 };
  let us = 0;
  let flops = 0;
  const tiles = tilesOf(d);
  for (const l of launches) {
    const t = l.chip.timeline;
    us += l.us;
    flops += l.flops;
    parts[l.kind] = (parts[l.kind] ?? 0) + l.computeUs - d.launch.opUs;
    parts.launch = (parts.launch ?? 0) + d.launch.opUs;
    if (l.linkUs > 0) parts.links = (parts.links ?? 0) + l.linkUs;
    bytes.read += t.hbmBytes.read;
    bytes.written += t.hbmBytes.written;
    bytes.sram += t.sramBytes;
    bytes.link += l.linkBytes;
    busy.tensor += t.busy.tensor / tiles;
    busy.vector += t.busy.vector / tiles;
    busy.dma += (t.busy.load + t.busy.store) / tiles / d.tile.dma.engines;
    busy.hbm += t.busy.hbm;
    busy.noc += t.busy.noc;
  }
  const cycles = us * d.clockGHz * 1000;
  const share = Object.fromEntries(Object.entries(busy).map(([k, v]) => [k, cycles > 0 ? v / cycles : 0])) as Summary['busy'];
  const moved = bytes.read + bytes.written;
  const peak = peakTops(d, d.tile.tensor.macsPerCycle.int8 ? 'int8' : 'bf16');
  const flopsPerByte = moved > 0 ? flops / chips / moved : 0;
  const tops = us > 0 ? flops / chips / us / 1e6 : 0;
  const ridge = (peak * 1000) / d.hbm.GBps;
  const roof = Math.min(peak, (flopsPerByte * d.hbm.GBps) / 1000);
  return {
    ...{ launches: launches.length, us, parts, flops, bytes, busy: share },
    roofline: {
      flopsPerByte,
      tops,
      peakTops: peak,
      ridge,
      bound: flopsPerByte < ridge ? 'memory' : 'compute',
      reached: roof > 0 ? tops / roof : 0,
    },
  };
}
