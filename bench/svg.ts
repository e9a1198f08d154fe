/** Charts as SVG text: lines over a linear or logarithmic axis, and bars. No dependency, readable on light and dark pages. */

export interface Axis {
  label: string;
  log?: boolean;
  /** Fixed ends; taken from the data otherwise. */
  min?: number;
  max?: number;
  /** Ticks to draw instead of computed ones. */
  ticks?: readonly number[];
  format?: (v: number) => string;
}

export interface Series {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
  dashed?: boolean;
}

export interface Chart {
  title: string;
  /** One line below the title: what was measured, on what. */
  note?: string;
  x: Axis;
  y: Axis;
  series: readonly Series[];
}

const WIDTH = 720;
const HEIGHT = 420;
const LEFT = 70;
const RIGHT = 36;
const TOP = 64;
const BOTTOM = 86;
/** Okabe and Ito's palette, told apart by most eyes. */
const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000'];
const FONT = 'font-family="system-ui, sans-serif"';

const entities = (s: string): string => s.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const round = (v: number): string => v.toFixed(1).replace(/\.0$/, '');

/** 1200 → 1.2k. */
export function short(v: number): string {
  const a = Math.abs(v);
  const cut = (x: number) => String(Number(x.toPrecision(3)));
  if (a >= 1e9) return `${cut(v / 1e9)}G`;
  if (a >= 1e6) return `${cut(v / 1e6)}M`;
  if (a >= 1e3) return `${cut(v / 1e3)}k`;
  return cut(v);
}

/** Round steps of 1, 2 or 5 times a power of ten, or the decades of a logarithmic axis. */
function ticksOf(axis: Axis, lo: number, hi: number): number[] {
  if (axis.ticks) return [...axis.ticks];
  const ticks: number[] = [];
  if (axis.log) {
    for (let e = Math.floor(Math.log10(lo)); e <= Math.ceil(Math.log10(hi)); e++) {
      for (const m of hi / lo > 1000 ? [1] : [1, 2, 5]) {
        const v = m * 10 ** e;
        if (v >= lo * 0.999 && v <= hi * 1.001) ticks.push(v);
      }
    }
    return ticks;
  }
  const raw = (hi - lo) / 6 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= raw) ?? 10);
  for (let v = Math.ceil(lo / step) * step; v <= hi + step / 1e6; v += step) ticks.push(Math.abs(v) < step / 1e6 ? 0 : v);
  return ticks;
}

interface Scale {
  at: (v: number) => number;
  ticks: number[];
  format: (v: number) => string;
}

function scale(axis: Axis, values: readonly number[], from: number, to: number): Scale {
  const finite = values.filter((v) => Number.isFinite(v) && (!axis.log || v > 0));
  if (finite.length === 0) throw new Error(`chart: axis "${axis.label}" has nothing to show`);
  let lo = axis.min ?? Math.min(...finite);
  let hi = axis.max ?? Math.max(...finite);
  if (!axis.log && axis.max === undefined) hi += (hi - lo) * 0.05;
  if (axis.log && axis.ticks === undefined) {
    // whole decades, halves and fifths: the axis ends on a tick
    const steps = [1, 2, 5, 10];
    const power = (v: number) => 10 ** Math.floor(Math.log10(v) + 1e-9);
    if (axis.min === undefined) lo = power(lo) * steps.findLast((m) => m * power(lo) <= lo * 1.0001)!;
    if (axis.max === undefined) hi = power(hi) * steps.find((m) => m * power(hi) >= hi * 0.9999)!;
  }
  if (hi === lo) {
    hi = axis.log ? lo * 2 : lo + 1;
    if (axis.log) lo /= 2;
  }
  const f = axis.log ? Math.log : (v: number) => v;
  const span = f(hi) - f(lo);
  return {
    at: (v) => from + ((f(Math.max(v, axis.log ? lo : v)) - f(lo)) / span) * (to - from),
    ticks: ticksOf(axis, lo, hi),
    format: axis.format ?? short,
  };
}

function frame(title: string, note: string | undefined, body: string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" ${FONT} role="img" aria-label="${entities(title)}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="26" font-size="17" font-weight="600" fill="#111">${entities(title)}</text>`,
    note ? `<text x="${LEFT}" y="46" font-size="12" fill="#555">${entities(note)}</text>` : '',
    ...body,
    '</svg>',
    '',
  ]
    .filter((line, i, all) => line !== '' || i === all.length - 1)
    .join('\n');
}

function yAxis(y: Scale, label: string): string[] {
  const out = y.ticks.flatMap((t) => {
    const at = round(y.at(t));
    return [
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}" stroke="#e4e4e4"/>`,
      `<text x="${LEFT - 8}" y="${at}" dy="4" font-size="12" text-anchor="end" fill="#333">${entities(y.format(t))}</text>`,
    ];
  });
  const middle = (TOP + HEIGHT - BOTTOM) / 2;
  out.push(
    `<text transform="translate(18 ${middle}) rotate(-90)" font-size="13" text-anchor="middle" fill="#111">${entities(label)}</text>`,
  );
  return out;
}

function legend(names: readonly string[], dashed: readonly boolean[]): string[] {
  let x = LEFT;
  return names.flatMap((name, i) => {
    const at = x;
    x += 40 + name.length * 7.2;
    const color = COLORS[i % COLORS.length]!;
    const y = HEIGHT - 16;
    return [
      `<line x1="${at}" x2="${at + 22}" y1="${y}" y2="${y}" stroke="${color}" stroke-width="3"${dashed[i] ? ' stroke-dasharray="5 4"' : ''}/>`,
      `<text x="${at + 28}" y="${y + 4}" font-size="12" fill="#111">${entities(name)}</text>`,
    ];
  });
}

/** Lines with a point at each value. */
export function lineChart(c: Chart): string {
  const x = scale(
    c.x,
    c.series.flatMap((s) => s.points.map((p) => p[0])),
    LEFT,
    WIDTH - RIGHT,
  );
  const y = scale(
    c.y,
    c.series.flatMap((s) => s.points.map((p) => p[1])),
    HEIGHT - BOTTOM,
    TOP,
  );
  const body = yAxis(y, c.y.label);
  for (const t of x.ticks) {
    const at = round(x.at(t));
    body.push(`<line x1="${at}" x2="${at}" y1="${HEIGHT - BOTTOM}" y2="${HEIGHT - BOTTOM + 5}" stroke="#333"/>`);
    body.push(
      `<text x="${at}" y="${HEIGHT - BOTTOM + 20}" font-size="12" text-anchor="middle" fill="#333">${entities(x.format(t))}</text>`,
    );
  }
  body.push(`<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${HEIGHT - BOTTOM}" y2="${HEIGHT - BOTTOM}" stroke="#333"/>`);
  body.push(
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - BOTTOM + 42}" font-size="13" text-anchor="middle" fill="#111">${entities(c.x.label)}</text>`,
  );
  c.series.forEach((s, i) => {
    const color = COLORS[i % COLORS.length]!;
    const at = s.points.map(([px, py]) => `${round(x.at(px))},${round(y.at(py))}`);
    body.push(
      `<polyline points="${at.join(' ')}" fill="none" stroke="${color}" stroke-width="2"${s.dashed ? ' stroke-dasharray="5 4"' : ''}/>`,
    );
    if (!s.dashed) for (const p of at) body.push(`<circle cx="${p.split(',')[0]}" cy="${p.split(',')[1]}" r="3" fill="${color}"/>`);
  });
  body.push(
    ...legend(
      c.series.map((s) => s.name),
      c.series.map((s) => s.dashed ?? false),
    ),
  );
  return frame(c.title, c.note, body);
}

export interface Bars {
  title: string;
  note?: string;
  y: Axis;
  groups: readonly string[];
  series: readonly { name: string; values: readonly number[] }[];
}

/** Bars side by side, one group a name, from zero up or down, each with its value above. */
export function barChart(c: Bars): string {
  const all = c.series.flatMap((s) => [...s.values]);
  const y = scale({ ...c.y, min: c.y.min ?? Math.min(0, ...all) }, all, HEIGHT - BOTTOM, TOP);
  const body = yAxis(y, c.y.label);
  const width = (WIDTH - LEFT - RIGHT) / c.groups.length;
  const bar = (width * 0.8) / c.series.length;
  const base = HEIGHT - BOTTOM;
  c.groups.forEach((group, g) => {
    const left = LEFT + g * width + width * 0.1;
    body.push(
      `<text x="${round(left + width * 0.4)}" y="${base + 20}" font-size="12" text-anchor="middle" fill="#333">${entities(group)}</text>`,
    );
    c.series.forEach((s, i) => {
      const value = s.values[g]!;
      const top = y.at(Math.max(0, value));
      const bottom = y.at(Math.min(0, value));
      const x = left + i * bar;
      body.push(
        `<rect x="${round(x)}" y="${round(top)}" width="${round(bar * 0.92)}" height="${round(bottom - top)}" fill="${COLORS[i % COLORS.length]}"/>`,
        `<text x="${round(x + bar * 0.46)}" y="${round(top - 4)}" font-size="11" text-anchor="middle" fill="#333">${entities(y.format(value))}</text>`,
      );
    });
  });
  body.push(`<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${round(y.at(0))}" y2="${round(y.at(0))}" stroke="#333"/>`);
  body.push(
    ...legend(
      c.series.map((s) => s.name),
      c.series.map(() => false),
    ),
  );
  return frame(c.title, c.note, body);
}
