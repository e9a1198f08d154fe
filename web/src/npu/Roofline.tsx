import { figure, percent, type Run, time } from './run.ts';

const BOX = { left: 62, right: 940, top: 28, bottom: 380 };
const X: readonly [number, number] = [0.05, 10_000]; // operations for each byte

/** Position of v on a logarithmic scale [lo, hi] drawn from a to b. */
function at(v: number, lo: number, hi: number, a: number, b: number): number {
  return a + (Math.log(Math.min(hi, Math.max(lo, v)) / lo) / Math.log(hi / lo)) * (b - a);
}

/** What was reached over operations for each byte of memory, under what the device could reach there. A circle's area is its share of the time. */
export function Roofline({ run }: { run: Run }) {
  const { peakTops: peak, ridge } = run.summary.roofline;
  const [y0, y1] = [peak / 50_000, peak * 2];
  const x = (v: number) => at(v, X[0], X[1], BOX.left, BOX.right);
  const y = (v: number) => at(v, y0, y1, BOX.bottom, BOX.top);
  const roof = (v: number) => Math.min(peak, (v * run.device.GBps) / 1000);
  const all = run.points.reduce((n, p) => n + p.us, 0) || 1;
  const kinds = [...new Set(run.points.map((p) => p.kind))];
  const decades = Array.from({ length: 12 }, (_, i) => 10 ** (Math.ceil(Math.log10(y0)) + i)).filter((v) => v <= y1);
  return (
    <figure>
      <svg viewBox="0 0 960 430" role="img" aria-label="Roofline">
        {[0.1, 1, 10, 100, 1000, 10_000].map((v) => (
          <g key={v}>
            <line class="grid" x1={x(v)} x2={x(v)} y1={BOX.top} y2={BOX.bottom} />
            <text x={x(v)} y={BOX.bottom + 18} text-anchor="middle">
              {v.toLocaleString('en')}
            </text>
          </g>
        ))}
        {decades.map((v) => (
          <g key={v}>
            <line class="grid" x1={BOX.left} x2={BOX.right} y1={y(v)} y2={y(v)} />
            <text x={BOX.left - 8} y={y(v) + 4} text-anchor="end">
              {figure(v)}
            </text>
          </g>
        ))}
        <polyline class="roof" points={[X[0], ridge, X[1]].map((v) => `${x(v)},${y(roof(v))}`).join(' ')} />
        <text x={x(ridge) + 8} y={y(peak) - 8}>
          {run.device.type} {figure(peak)} TOP/s, {figure(run.device.GBps)} GB/s
        </text>
        {run.points
          .filter((p) => p.tops > 0 && p.flopsPerByte > 0)
          .map((p) => (
            <circle key={p.name} data-kind={p.kind} cx={x(p.flopsPerByte)} cy={y(p.tops)} r={4 + 26 * Math.sqrt(p.us / all)}>
              <title>
                {p.name}: {figure(p.tops)} TOP/s, {figure(p.flopsPerByte)} operations a byte, {p.launches} launches, {time(p.us)},{' '}
                {percent(p.us / all)} of the time
              </title>
            </circle>
          ))}
        <text x={(BOX.left + BOX.right) / 2} y={BOX.bottom + 40} text-anchor="middle">
          operations for each byte of memory
        </text>
        <text x={14} y={16}>
          TOP/s
        </text>
      </svg>
      <figcaption>
        {kinds.map((kind) => (
          <span key={kind} class="key">
            <i data-kind={kind} /> {kind}
          </span>
        ))}
      </figcaption>
    </figure>
  );
}
