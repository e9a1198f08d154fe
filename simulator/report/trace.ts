/** Launches as a Chrome trace (Trace Event Format), which Perfetto (ui.perfetto.dev) opens: a process a tile, a thread a queue. */
import { QUEUES } from '../program/isa.ts';
import { nameOf } from '../run/costs.ts';
import type { Launch } from '../run/machine.ts';

interface TraceEvent {
  name: string;
  ph: 'X' | 'M';
  pid: number;
  tid: number;
  ts?: number; // µs
  dur?: number;
  args?: Record<string, unknown>;
}

export interface TraceOptions {
  /** Cycles a µs. */
  readonly cyclesPerUs: number;
  readonly opUs: number;
  /** Tiles to show (the first so many); all tiles of a large part make large files. */
  readonly tiles?: number;
  /** Events at most; later ones are left out and counted. */
  readonly limit?: number;
}

/** The trace as JSON text. Times are the device's. */
export function chromeTrace(launches: readonly Launch[], o: TraceOptions): string {
  const events: TraceEvent[] = [];
  const limit = o.limit ?? 200_000;
  const tiles = o.tiles ?? 4;
  let left = 0;
  let at = 0;
  const meta = (pid: number, tid: number, kind: string, name: string): void => {
    events.push({ name: kind, ph: 'M', pid, tid, args: { name } });
  };
  meta(0, 0, 'process_name', 'launches');
  for (let t = 0; t < tiles; t++) {
    meta(t + 1, 0, 'process_name', `tile ${t}`);
    QUEUES.forEach((q, i) => {
      meta(t + 1, i, 'thread_name', q);
    });
  }
  for (const l of launches) {
    events.push({ name: l.name, ph: 'X', pid: 0, tid: 0, ts: at, dur: l.us, args: { flops: l.flops, linkBytes: l.linkBytes } });
    if (l.linkUs > 0) events.push({ name: 'links', ph: 'X', pid: 0, tid: 1, ts: at + l.computeUs, dur: l.linkUs });
    for (const r of l.chip.timeline.order) {
      if (r.tile >= tiles) continue;
      if (events.length >= limit) {
        left++;
        continue;
      }
      const ts = at + o.opUs + r.start / o.cyclesPerUs;
      events.push({ name: nameOf(r.instr), ph: 'X', pid: r.tile + 1, tid: r.queue, ts, dur: (r.end - r.start) / o.cyclesPerUs });
    }
    at += l.us;
  }
  return JSON.stringify({ traceEvents: events, displayTimeUnit: 'ns', otherData: { leftOut: left } });
}
