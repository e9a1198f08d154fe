/** What happens to logits: edits and bans, and the best of each row. Rows are dealt out to the tiles and stream in chunks of ids. */
import { EDIT_BYTES, SUM_BLOCK } from '../../engine/backend.ts';
import type { DeviceSpec } from '../device/spec.ts';
import { Builder, Ring } from '../program/builder.ts';
import type { Program } from '../program/isa.ts';
import { OPS } from '../vector/index.ts';
import { topkStateBytes } from '../vector/logits.ts';
import { bytes, DIV, load, type Options, span, store, vec } from './common.ts';

/** Ids a chunk: all, or whole blocks of them, so that there is room for two chunks. */
const chunkOf = (d: DeviceSpec, V: number): number =>
  Math.min(DIV(V, 32) * 32, Math.floor((d.tile.sramKiB * 1024) / 4 / 4 / SUM_BLOCK) * SUM_BLOCK, 16384);

export interface EditShape {
  readonly R: number;
  readonly V: number;
  /** Row and id of each edit, sorted. */
  readonly edits: readonly (readonly [row: number, id: number])[];
  readonly mask: boolean;
}

/** Arguments: x (logits f32 [R, V]), edits, mask. Touches only the chunks that change. */
export function compileEdit(d: DeviceSpec, s: EditShape, o: Options): Program {
  const b = new Builder(d, `editLogits ${s.edits.length}`, s.edits.length);
  s.edits.forEach(([row, id], e) => {
    if (row >= s.R || id >= s.V) throw new Error(`editLogits: edit ${e} is for row ${row}, id ${id}, outside [${s.R}, ${s.V}]`);
  });
  const size = chunkOf(d, s.V);
  const depth = o.doubleBuffer ? 2 : 1;
  const perRow = DIV(s.V, size);
  const inChunk = new Map<number, { first: number; n: number }>();
  s.edits.forEach(([row, id], e) => {
    const key = row * perRow + Math.floor(id / size);
    const at = inChunk.get(key);
    if (at) at.n++;
    else inChunk.set(key, { first: e, n: 1 });
  });
  const most = Math.max(0, ...[...inChunk.values()].map((c) => c.n));
  const words = DIV(s.V, 32);
  const x = new Ring(b, size * 4, depth, 'logits');
  const edits = new Ring(b, Math.max(1, most) * EDIT_BYTES, depth, 'edits');
  const mask = new Ring(b, (size / 32) * 4, depth, 'mask');
  const uses = new Array<number>(b.tileCount).fill(0);
  const done: number[] = [];
  let next = 0;
  for (let key = 0; key < s.R * perRow; key++) {
    const own = inChunk.get(key);
    if (!own && !s.mask) continue;
    const t = next++ % b.tileCount;
    const use = uses[t]++;
    const row = Math.floor(key / perRow);
    const lo = (key % perRow) * size;
    const n = Math.min(size, s.V - lo);
    const place = span('x', (row * s.V + lo) * 4, n * 4);
    const words32 = DIV(n, 32);
    x.load(b, t, [load([t], place, x.at(use))], use);
    // every use of the small buffers is loaded, so that all three count alike
    edits.load(b, t, [load([t], span('edits', (own?.first ?? 0) * EDIT_BYTES, (own?.n ?? 0) * EDIT_BYTES), edits.at(use))], use);
    mask.load(b, t, [load([t], span('mask', (row * words + (lo >> 5)) * 4, s.mask ? words32 * 4 : 0), mask.at(use))], use);
    const params = { x: x.at(use), lo, n, edits: edits.at(use), E: own?.n ?? 0, mask: s.mask ? mask.at(use) : -1 };
    const all = bytes(x.at(use), n * 4);
    const reads = [all];
    if (own) reads.push(bytes(edits.at(use), own.n * EDIT_BYTES));
    if (s.mask) reads.push(bytes(mask.at(use), words32 * 4));
    const instr = vec('edit', params, s.mask ? n : (own?.n ?? 0), OPS.edit, reads, [all]);
    x.take(instr, t, use, false);
    edits.take(instr, t, use);
    mask.take(instr, t, use);
    instr.signals.push((done[t] ??= b.semaphore()));
    b.emit(t, instr);
    const out = store(t, place, x.at(use));
    out.waits.push(done[t], use + 1);
    b.emit(t, x.free(out, t));
  }
  return b.finish();
}

/** Arguments: x (logits f32 [R, V]), invTemp f32 [R], y. Two passes a row: the best and the maximum, then the sum. */
export function compileTopk(d: DeviceSpec, s: { R: number; V: number; K: number }, o: Options): Program {
  const b = new Builder(d, `topk ${s.R}x${s.V}`, 2 * s.R * s.V);
  const size = chunkOf(d, s.V);
  const depth = o.doubleBuffer ? 2 : 1;
  const bytesOut = (2 * s.K + 2) * 4;
  const x = new Ring(b, size * 4, depth, 'logits');
  const temperature = new Ring(b, 4, depth, 'invTemp');
  const state = new Ring(b, topkStateBytes(s.K), depth, 'state');
  const perRow = DIV(s.V, size);
  const xUses = new Array<number>(b.tileCount).fill(0);
  for (let r = 0; r < s.R; r++) {
    const t = r % b.tileCount;
    const use = Math.floor(r / b.tileCount);
    temperature.load(b, t, [load([t], span('invTemp', r * 4, 4), temperature.at(use))], use);
    const at = state.at(use);
    const stateRange = bytes(at, topkStateBytes(s.K));
    const invTemp = bytes(temperature.at(use), 4);
    const common = { state: at, K: s.K, invTemp: temperature.at(use) };
    const begin = vec('topkStart', common, 2 * s.K, 1, [invTemp], [stateRange]);
    b.emit(t, state.fill(temperature.take(begin, t, use, false), [t], use, 'first'));
    for (let pass = 0; pass < 2; pass++) {
      for (let c = 0; c < perRow; c++) {
        const lo = c * size;
        const n = Math.min(size, s.V - lo);
        const u = xUses[t]++;
        x.load(b, t, [load([t], span('x', (r * s.V + lo) * 4, n * 4), x.at(u))], u);
        const last = pass === 1 && c === perRow - 1;
        const params = { ...common, x: x.at(u), lo, n };
        const reads = [bytes(x.at(u), n * 4), invTemp, stateRange];
        const instr = vec(pass === 0 ? 'topkScan' : 'topkSum', params, n, pass === 0 ? OPS.scan : OPS.sum, reads, [stateRange]);
        x.take(instr, t, u);
        if (last) state.fill(temperature.free(instr, t), [t], use, 'last');
        b.emit(t, instr);
      }
    }
    b.emit(t, state.take(store(t, span('y', r * bytesOut, bytesOut), at), t, use));
  }
  return b.finish();
}
