import { useState } from 'preact/hooks';
import { type Run, time } from './run.ts';

const LEFT = 96;
const RIGHT = 925;
const ROW = 16;
const TOP = 48;

/** What the queues of the first tiles did in the first launches. The slider zooms in at the beginning. */
export function Timeline({ run }: { run: Run }) {
  const { timeline } = run;
  const [zoom, setZoom] = useState(1);
  const to = timeline.us / zoom || 1;
  const x = (us: number) => LEFT + (Math.min(us, to) / to) * (RIGHT - LEFT);
  const lanes = timeline.queues.length;
  const y = (tile: number, queue: number) => TOP + (tile * (lanes + 0.5) + queue) * ROW;
  const height = y(timeline.tiles, 0) + 24;
  return (
    <figure>
      <svg viewBox={`0 0 960 ${height}`} role="img" aria-label="Timeline">
        <text x={0} y={24}>
          launches
        </text>
        {timeline.launches
          .filter((l) => l.at < to)
          .map((l) => (
            <rect key={l.at} data-kind={l.kind} x={x(l.at)} y={10} width={Math.max(0.3, x(l.at + l.us) - x(l.at) - 0.6)} height={20}>
              <title>
                {l.name}: {time(l.us)}
              </title>
            </rect>
          ))}
        {Array.from({ length: timeline.tiles }, (_, tile) =>
          timeline.queues.map((queue, q) => (
            <text key={`${tile}${queue}`} x={q === 0 ? 0 : 46} y={y(tile, q) + 11}>
              {q === 0 ? `tile ${tile}  ${queue}` : queue}
            </text>
          )),
        )}
        {timeline.bars
          .filter(([, , from]) => from < to)
          .map(([tile, queue, from, end]) => (
            <rect
              key={`${tile} ${queue} ${from}`}
              data-queue={timeline.queues[queue]}
              x={x(from)}
              y={y(tile, queue)}
              width={Math.max(0.3, x(end) - x(from))}
              height={ROW - 3}
            />
          ))}
        {Array.from({ length: 9 }, (_, i) => (
          <text key={i} x={LEFT + ((RIGHT - LEFT) * i) / 8} y={height - 6} text-anchor="middle">
            {time((to * i) / 8)}
          </text>
        ))}
      </svg>
      <figcaption>
        <label>
          Zoom
          <input
            type="range"
            min={0}
            max={6}
            step={0.5}
            value={Math.log2(zoom)}
            onInput={(e) => setZoom(2 ** Number(e.currentTarget.value))}
          />
        </label>
        <span>The first {timeline.launches.length} launches, four tiles. Colours of launches as in the roofline.</span>
      </figcaption>
    </figure>
  );
}
