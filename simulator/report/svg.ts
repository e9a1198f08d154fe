/** Two pictures of a run as SVG text: the roofline with a point for each launch, and the timeline of a few tiles. */
import { type DeviceSpec, peakTops } from '../device/spec.ts';
import { QUEUES } from '../program/isa.ts';
import type { Launch } from '../run/machine.ts';

const WIDTH = 960;
const COLORS: Record<string, string> = {
  ...{
    matmul: '#2563eb',
    attention: '#d97706',
    norm: '#059669',
    rope: '#7c3aed',
    embed: '#64748b',
    swiglu: '#db2777',
    geglu: '#be185d',
    addNorm: '#047857',
  },
  ...{ edit: '#64748b', topk: '#64748b', copy: '#64748b', load: '#0ea5e9', store: '#f43f5e', tensor: '#2563eb', vector: '#d97706' },
};
const entities = (s: string): string => s.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const text = (x: number, y: number, s: string, more = ''): string => `<text x="${x}" y="${y}" ${more}>${entities(s)}</text>`;
const frame = (height: number, body: string[], title: string): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="${entities(title)}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(20, 28, title, 'font-size="17" font-weight="600"'),
    ...body,
    '</svg>',
    '',
  ].join('\n');

/** Reached TFLOP/s over FLOP/byte, both logarithmic, under the device's roof; a point's area is its share of the time. */
export function rooflineSvg(d: DeviceSpec, launches: readonly Launch[], title = `${d.name}: roofline`): string {
  const type = d.tile.tensor.macsPerCycle.int8 ? 'int8' : 'bf16';
  const peak = peakTops(d, type);
  const box = { left: 70, right: WIDTH - 30, top: 50, bottom: 430 };
  const x0 = 0.05;
  const x1 = 10_000;
  const y1 = peak * 2;
  const y0 = peak / 50_000;
  const at = (v: number, lo: number, hi: number, a: number, b: number): number =>
    a + (Math.log(Math.min(hi, Math.max(lo, v)) / lo) / Math.log(hi / lo)) * (b - a);
  const x = (v: number): number => at(v, x0, x1, box.left, box.right);
  const y = (v: number): number => at(v, y0, y1, box.bottom, box.top);
  const roof = (i: number): number => Math.min(peak, (i * d.hbm.GBps) / 1000);
  const ridge = (peak * 1000) / d.hbm.GBps;
  const body = [
    `<polyline fill="none" stroke="#111" stroke-width="2" points="${[x0, ridge, x1].map((v) => `${x(v).toFixed(1)},${y(roof(v)).toFixed(1)}`).join(' ')}"/>`,
  ];
  for (let p = -1; p <= 4; p++) {
    const v = 10 ** p;
    body.push(
      `<line x1="${x(v)}" x2="${x(v)}" y1="${box.top}" y2="${box.bottom}" stroke="#eee"/>`,
      text(x(v), box.bottom + 18, String(v), 'text-anchor="middle"'),
    );
  }
  for (let p = Math.ceil(Math.log10(y0)); 10 ** p <= y1; p++) {
    const v = 10 ** p;
    body.push(
      `<line x1="${box.left}" x2="${box.right}" y1="${y(v)}" y2="${y(v)}" stroke="#eee"/>`,
      text(box.left - 8, y(v) + 4, String(v), 'text-anchor="end"'),
    );
  }
  body.push(text((box.left + box.right) / 2, box.bottom + 38, 'operations for each byte of HBM', 'text-anchor="middle"'));
  body.push(text(20, (box.top + box.bottom) / 2, 'TOP/s', `transform="rotate(-90 20 ${(box.top + box.bottom) / 2})" text-anchor="middle"`));
  body.push(text(x(ridge) + 8, y(peak) - 8, `${type} ${peak.toFixed(1)} TOP/s, ridge ${ridge.toFixed(0)} op/B, HBM ${d.hbm.GBps} GB/s`));
  const groups = new Map<string, { kind: string; us: number; flops: number; bytes: number }>();
  for (const l of launches) {
    const g = groups.get(l.name) ?? { kind: l.kind, us: 0, flops: 0, bytes: 0 };
    g.us += l.computeUs;
    g.flops += l.chip.program.flops;
    g.bytes += l.chip.timeline.hbmBytes.read + l.chip.timeline.hbmBytes.written;
    groups.set(l.name, g);
  }
  const all = launches.reduce((n, l) => n + l.us, 0) || 1;
  for (const [name, g] of groups) {
    const tops = g.flops / g.us / 1e6;
    if (!(tops > 0) || g.bytes === 0) continue;
    const r = 4 + 26 * Math.sqrt(g.us / all);
    const label = `${name}: ${tops.toFixed(2)} TOP/s, ${(g.flops / g.bytes).toFixed(1)} op/B, ${((100 * g.us) / all).toFixed(1)} % of the time`;
    body.push(
      `<circle cx="${x(g.flops / g.bytes).toFixed(1)}" cy="${y(tops).toFixed(1)}" r="${r.toFixed(1)}" fill="${COLORS[g.kind]}" fill-opacity=".55" stroke="${COLORS[g.kind]}"><title>${entities(label)}</title></circle>`,
    );
  }
  [...new Set([...groups.values()].map((g) => g.kind))].forEach((kind, i) => {
    body.push(
      `<rect x="${box.left + i * 105}" y="486" width="12" height="12" fill="${COLORS[kind]}"/>`,
      text(box.left + 18 + i * 105, 497, kind),
    );
  });
  return frame(510, body, title);
}

const TIMELINE_ROWS = 6000;

/** What the queues of the first tiles did between two times of a run (µs). */
export function timelineSvg(
  d: DeviceSpec,
  launches: readonly Launch[],
  o: { tiles?: number; fromUs?: number; toUs?: number; title?: string } = {},
): string {
  const total = launches.reduce((n, l) => n + l.us, 0);
  const from = o.fromUs ?? 0;
  const to = Math.min(o.toUs ?? total, total);
  const tiles = o.tiles ?? 4;
  const left = 90;
  const row = 18;
  const x = (us: number): number => left + ((us - from) / (to - from || 1)) * (WIDTH - left - 20);
  const body: string[] = [];
  let at = 0;
  let drawn = 0;
  const rowsTop = 84;
  for (const l of launches) {
    const end = at + l.us;
    if (end >= from && at <= to) {
      const [a, b] = [x(Math.max(at, from)), x(Math.min(end, to))];
      body.push(
        `<rect x="${a.toFixed(2)}" y="48" width="${Math.max(0.3, b - a).toFixed(2)}" height="20" fill="${COLORS[l.kind]}" fill-opacity=".8"><title>${entities(`${l.name}: ${l.us.toFixed(2)} µs`)}</title></rect>`,
      );
      for (const r of l.chip.timeline.order) {
        if (r.tile >= tiles) continue;
        const s = at + d.launch.opUs + r.start / d.clockGHz / 1000;
        const e = at + d.launch.opUs + r.end / d.clockGHz / 1000;
        if (e < from || s > to || drawn++ > TIMELINE_ROWS) continue;
        const y = rowsTop + (r.tile * (QUEUES.length + 0.5) + r.queue) * row;
        const [u, v] = [x(Math.max(s, from)), x(Math.min(e, to))];
        body.push(
          `<rect x="${u.toFixed(2)}" y="${y}" width="${Math.max(0.3, v - u).toFixed(2)}" height="${row - 3}" fill="${COLORS[QUEUES[r.queue]]}"/>`,
        );
      }
    }
    at = end;
  }
  body.push(text(20, 63, 'launches'));
  for (let t = 0; t < tiles; t++) {
    QUEUES.forEach((q, i) => {
      body.push(text(20, rowsTop + (t * (QUEUES.length + 0.5) + i) * row + 12, i === 0 ? `${t} ${q}` : `   ${q}`, 'xml:space="preserve"'));
    });
  }
  const height = rowsTop + tiles * (QUEUES.length + 0.5) * row + 40;
  for (let i = 0; i <= 8; i++) {
    const us = from + ((to - from) * i) / 8;
    body.push(text(x(us), height - 14, `${us.toFixed(us < 100 ? 1 : 0)} µs`, 'text-anchor="middle"'));
  }
  return frame(height, body, o.title ?? `${d.name}: timeline`);
}
