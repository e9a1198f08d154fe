/** `turnstone.quantize`: f32 rows as i8 activations, for values that no norm, attention or gate quantizes on its way. An op from outside. */
import { type DeviceSpec, tilesOf } from '../../simulator/device/index.ts';
import { bytes, cut, DIV, load, type Options, span, store, vec } from '../../simulator/ops/common.ts';
import { type OutsideOp, type OutsideShape, registerOp } from '../../simulator/ops/outside.ts';
import { Builder, Ring } from '../../simulator/program/builder.ts';
import { type Program, rowBytes } from '../../simulator/program/isa.ts';
import { OPS } from '../../simulator/vector/index.ts';
import { storeRow } from '../../simulator/vector/rows.ts';

/** Arguments: x f32 [R, C], y i8 [R, C]. */
function compile(d: DeviceSpec, shape: OutsideShape, o: Options): Program {
  const [R, C] = [Number(shape.R), Number(shape.C)];
  const b = new Builder(d, `quantize ${R}x${C}`, R * C);
  const depth = o.doubleBuffer ? 2 : 1;
  const tiles = Math.min(tilesOf(d), R);
  const out = rowBytes(true, C);
  const most = Math.max(1, Math.floor((d.tile.sramKiB * 1024 * 0.8) / (depth * (C * 4 + out) + 64)));
  const size = Math.min(most, DIV(R, tiles));
  const x = new Ring(b, size * C * 4, depth, 'x');
  const y = new Ring(b, size * out, depth, 'y');
  for (let t = 0; t < tiles; t++) {
    const from = cut(R, tiles, t);
    const rows = cut(R, tiles, t + 1) - from;
    const parts = DIV(rows, size);
    for (let use = 0; use < parts; use++) {
      const row = from + cut(rows, parts, use);
      const n = from + cut(rows, parts, use + 1) - row;
      x.load(b, t, [load([t], span('x', row * C * 4, n * C * 4), x.at(use))], use);
      const params = { rows: n, C, x: x.at(use), y: y.at(use), out };
      const reads = [bytes(x.at(use), n * C * 4)];
      const instr = vec('turnstone.quantize:rows', params, n * C, OPS.quantize, reads, [bytes(y.at(use), n * out)]);
      b.emit(t, y.fill(x.take(instr, t, use), [t], use));
      b.emit(t, y.take(store(t, span('y', row * out, n * out), y.at(use)), t, use));
    }
  }
  return b.finish();
}

const quantizeRows: OutsideOp = {
  name: 'turnstone.quantize',
  compile,
  functions: {
    'turnstone.quantize:rows': (s, p) => {
      for (let r = 0; r < p.rows; r++) {
        const at = (p.x >> 2) + r * p.C;
        storeRow(s, s.f32.slice(at, at + p.C), p.y + r * p.out, 1);
      }
    },
  },
};
registerOp(quantizeRows);
