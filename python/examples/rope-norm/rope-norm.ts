/**
 * An op from outside: RMSNorm of every head, then its rotation, in one pass through SRAM. Nothing in Turnstone's tree knows it; whoever imports
 * this file has it in the compiler and the simulator. `y[t, h] = rotate(x[t, h] / sqrt(mean(x[t, h]²) + eps) · g, angles[t])`.
 */
import { type DeviceSpec, tilesOf } from '../../../simulator/device/index.ts';
import { bytes, cut, load, type Options, span, store, vec } from '../../../simulator/ops/common.ts';
import { type OutsideOp, type OutsideShape, registerOp } from '../../../simulator/ops/outside.ts';
import { Builder, Ring } from '../../../simulator/program/builder.ts';
import type { Program } from '../../../simulator/program/isa.ts';

const NAME = 'example.rope-norm';
/** What the vector unit does for an element: the norm 6, the rotation 4. */
const OPS = 10;

/** Arguments: x f32 [T, H·d], g [d], table [T, d] (d/2 cosines, then d/2 sines), y [T, H·d]. */
function compile(d: DeviceSpec, shape: OutsideShape, o: Options): Program {
  const [T, H, dim, eps] = ['T', 'H', 'd', 'eps'].map((key) => Number(shape[key]));
  const b = new Builder(d, `rope+norm ${T}x${H}x${dim}`, OPS * T * H * dim);
  const row = H * dim * 4;
  const tiles = Math.min(tilesOf(d), T); // tokens are dealt out to the tiles
  const depth = o.doubleBuffer ? 2 : 1; // two pieces of each buffer: one is loaded while the other is worked on
  const most = Math.max(1, Math.floor((d.tile.sramKiB * 1024 * 0.8) / (depth * (2 * row + dim * 4) + 64)));
  const size = Math.min(most, Math.ceil(T / tiles));
  const x = new Ring(b, size * row, depth, 'x'); // SRAM at the same place of every tile; throws when it does not fit
  const table = new Ring(b, size * dim * 4, depth, 'table');
  const y = new Ring(b, size * row, depth, 'y');
  const gain = new Ring(b, dim * 4, 1, 'gain');
  for (let t = 0; t < tiles; t++) {
    const from = cut(T, tiles, t);
    const count = cut(T, tiles, t + 1) - from;
    const parts = Math.ceil(count / size);
    gain.load(b, t, [load([t], span('g', 0, dim * 4), gain.at(0))], 0);
    for (let use = 0; use < parts; use++) {
      const first = from + cut(count, parts, use);
      const n = from + cut(count, parts, use + 1) - first;
      x.load(b, t, [load([t], span('x', first * row, n * row), x.at(use))], use);
      table.load(b, t, [load([t], span('table', first * dim * 4, n * dim * 4), table.at(use))], use);
      const params = { n, H, d: dim, eps, x: x.at(use), table: table.at(use), g: gain.at(0), y: y.at(use) };
      const reads = [bytes(x.at(use), n * row), bytes(table.at(use), n * dim * 4), bytes(gain.at(0), dim * 4)];
      const work = vec(`${NAME}:rows`, params, n * H * dim, OPS, reads, [bytes(y.at(use), n * row)]);
      // waits for what was loaded, frees it, and says that y is there
      b.emit(t, y.fill(gain.take(table.take(x.take(work, t, use), t, use), t, 0, false), [t], use));
      b.emit(t, y.take(store(t, span('y', first * row, n * row), y.at(use)), t, use));
    }
  }
  return b.finish();
}

const op: OutsideOp = {
  name: NAME,
  compile,
  functions: {
    [`${NAME}:rows`]: ({ f32 }, p) => {
      const half = p.d / 2;
      for (let i = 0; i < p.n * p.H; i++) {
        const at = (p.x >> 2) + i * p.d;
        const angles = (p.table >> 2) + Math.floor(i / p.H) * p.d;
        const out = (p.y >> 2) + i * p.d;
        let sum = 0;
        for (let k = 0; k < p.d; k++) sum += f32[at + k] * f32[at + k];
        const r = 1 / Math.sqrt(sum / p.d + p.eps);
        for (let k = 0; k < half; k++) {
          const a = f32[at + k] * r * f32[(p.g >> 2) + k];
          const b = f32[at + k + half] * r * f32[(p.g >> 2) + k + half];
          f32[out + k] = a * f32[angles + k] - b * f32[angles + half + k];
          f32[out + k + half] = b * f32[angles + k] + a * f32[angles + half + k];
        }
      }
    },
  },
};

registerOp(op);
