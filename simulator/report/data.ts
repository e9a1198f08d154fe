/** A run as data for a page that draws it: what it took, its place under the roofline, and what the first tiles did. */
import type { DeviceSpec } from '../device/spec.ts';
import { QUEUES } from '../program/isa.ts';
import type { Launch } from '../run/machine.ts';
import { type Summary, summarize } from './summary.ts';

export interface RunData {
  readonly device: { readonly name: string; readonly summary: string; readonly type: string; readonly GBps: number };
  readonly chips: number;
  readonly summary: Summary;
  /** Launches of one program together, for the roofline. */
  readonly points: readonly { name: string; kind: string; launches: number; us: number; tops: number; flopsPerByte: number }[];
  /** The beginning of the run: launches, and what the queues of a few tiles did in them. Times are µs of the device. */
  readonly timeline: {
    readonly us: number;
    readonly queues: readonly string[];
    readonly tiles: number;
    readonly launches: readonly { name: string; kind: string; at: number; us: number }[];
    /** [tile, queue, from, to] */
    readonly bars: readonly (readonly [number, number, number, number])[];
  };
}

const TILES = 4;
const LAUNCHES = 16;
const BARS = 6000;

/** Launches must have kept their timelines. */
export function runData(d: DeviceSpec, launches: readonly Launch[], chips = 1): RunData {
  const groups = new Map<string, { name: string; kind: string; launches: number; us: number; flops: number; bytes: number }>();
  for (const l of launches) {
    const g = groups.get(l.name) ?? { name: l.name, kind: l.kind, launches: 0, us: 0, flops: 0, bytes: 0 };
    const { hbmBytes } = l.chip.timeline;
    groups.set(l.name, {
      ...{ ...g, launches: g.launches + 1, us: g.us + l.computeUs, flops: g.flops + l.chip.program.flops },
      bytes: g.bytes + hbmBytes.read + hbmBytes.written,
    });
  }
  const points = [...groups.values()].map(({ flops, bytes, ...g }) => {
    return { ...g, tops: g.us > 0 ? flops / g.us / 1e6 : 0, flopsPerByte: bytes > 0 ? flops / bytes : 0 };
  });
  const first = launches.slice(0, LAUNCHES);
  const bars: [number, number, number, number][] = [];
  const shown: { name: string; kind: string; at: number; us: number }[] = [];
  const us = (cycles: number): number => cycles / d.clockGHz / 1000;
  const round = (v: number): number => Math.round(v * 1000) / 1000;
  let at = 0;
  for (const l of first) {
    shown.push({ name: l.name, kind: l.kind, at: round(at), us: round(l.us) });
    const begin = at + d.launch.opUs;
    for (const r of l.chip.timeline.order) {
      if (r.tile < TILES && bars.length < BARS) bars.push([r.tile, r.queue, round(begin + us(r.start)), round(begin + us(r.end))]);
    }
    at += l.us;
  }
  const type = d.tile.tensor.macsPerCycle.int8 ? 'int8' : 'bf16';
  return {
    device: { name: d.name, summary: d.summary, type, GBps: d.hbm.GBps },
    ...{ chips, summary: summarize(d, launches, chips), points },
    timeline: { us: round(at), queues: QUEUES, tiles: TILES, launches: shown, bars },
  };
}
