/**
 * y[T, N] = x · wᵀ over a grid of gm × gn tiles: tile (i, j) owns a range of rows and one of columns and goes through
 * its blocks with the whole grid in step, so that row i shares each load of activations and column j each load of
 * weights. K runs ascending in chunks; the accumulators stay in SRAM from chunk to chunk, and no sum is ever split.
 *
 * Arguments: x, w, y, bias, g (gain of the norm).
 */
import { ROWS } from '../../engine/formats.ts';
import type { DeviceSpec } from '../device/spec.ts';
import { Builder, Ring } from '../program/builder.ts';
import { actBytes, columnUnit, type Dma, isQuant, type Mm, mmWeightBytes, type Program } from '../program/isa.ts';
import { OPS } from '../vector/index.ts';
import { block, bytes, cut, load, type Options, range, span, store, vec } from './common.ts';
import { actPiece, blockSizes, deal, type MatmulPlan, type MatmulShape, outBytes, pieces, planMatmul, units } from './matmul-plan.ts';

export function compileMatmul(d: DeviceSpec, s: MatmulShape, o: Options, given?: MatmulPlan): Program {
  const flops = 2 * s.T * (s.to - s.from) * s.K * (s.swiglu ? 2 : 1);
  const b = new Builder(
    d,
    `${s.norm !== undefined ? 'norm+' : ''}matmul${s.swiglu ? '+swiglu' : ''} ${s.T}x${s.to - s.from}x${s.K} ${s.format}`,
    flops,
  );
  if (s.from === s.to) return b.finish(); // a chip without a share
  const plan = given ?? planMatmul(d, s, o);
  new Matmul(b, s, plan, o.multicast && d.noc.multicast).compile();
  return b.finish();
}

/** Columns of an accumulator: whole row groups of the weight. */
const pad = (cols: number): number => Math.ceil(cols / ROWS) * ROWS;

interface Block {
  row: number;
  rows: number;
  col: number; // from `s.from`
  cols: number;
}

class Matmul {
  private readonly b: Builder;
  private readonly s: MatmulShape;
  private readonly p: MatmulPlan;
  private readonly multicast: boolean;
  private readonly rings = new Map<string, Ring>();
  private readonly quant: boolean;
  private readonly count = { a: 0, w: 0, x: 0, acc: 0 };

  constructor(b: Builder, s: MatmulShape, p: MatmulPlan, multicast: boolean) {
    this.b = b;
    this.s = s;
    this.p = p;
    this.multicast = multicast;
    this.quant = isQuant(s.format);
    for (const piece of pieces(b.device, s, p)) this.rings.set(piece.label, new Ring(b, piece.bytes, piece.depth, piece.label));
  }

  private ring(label: string): Ring {
    return this.rings.get(label) as Ring;
  }

  private block(i: number, j: number, mb: number, nb: number): Block {
    const { s, p } = this;
    const u = units(this.b.device, s);
    const cols = s.to - s.from;
    const row = deal(s.T, u.row, p.gm * p.mSteps, i * p.mSteps + mb);
    const col = deal(cols, u.col, p.gn * p.nSteps, j * p.nSteps + nb);
    return {
      row,
      rows: deal(s.T, u.row, p.gm * p.mSteps, i * p.mSteps + mb + 1) - row,
      col,
      cols: deal(cols, u.col, p.gn * p.nSteps, j * p.nSteps + nb + 1) - col,
    };
  }

  /** Calls back for each load: once with all tiles of `group` from its leader, or for each of them without multicast. */
  private each(group: number[], leader: number, emit: (issuer: number, tiles: number[]) => void): void {
    if (this.multicast) emit(group[leader % group.length], group);
    else for (const t of group) emit(t, [t]);
  }

  private tile = (i: number, j: number): number => i * this.p.gn + j;
  private rowGroup = (i: number): number[] => Array.from({ length: this.p.gn }, (_, j) => this.tile(i, j));
  private colGroup = (j: number): number[] => Array.from({ length: this.p.gm }, (_, i) => this.tile(i, j));

  compile(): void {
    const { p, s } = this;
    if (s.norm !== undefined) this.loadGain();
    for (let mb = 0; mb < p.mSteps; mb++) {
      if (p.resident) {
        if (s.norm !== undefined) this.normBlock(mb);
        else this.loadActs(mb, 0, s.K);
      }
      for (let nb = 0; nb < p.nSteps; nb++) {
        for (let kb = 0; kb < p.kSteps; kb++) {
          const [k0, k1] = this.chunk(kb);
          if (!p.resident) this.loadActs(mb, k0, k1);
          this.loadWeights(nb, k0, k1);
          this.multiply(mb, nb, kb);
          this.count.w++;
          if (!p.resident) this.count.a++;
        }
        this.finish(mb, nb);
        this.count.acc++;
      }
      if (p.resident) this.count.a++;
    }
  }

  private chunk(kb: number): [number, number] {
    const unit = columnUnit(this.s.format);
    const n = this.s.K / unit;
    return [cut(n, this.p.kSteps, kb) * unit, cut(n, this.p.kSteps, kb + 1) * unit];
  }

  private loadActs(mb: number, k0: number, k1: number): void {
    const { s, p, count } = this;
    const ring = this.ring('activations');
    const e = (n: number): number => actBytes(s.format, n);
    for (let i = 0; i < p.gm; i++) {
      const { row, rows } = this.block(i, 0, mb, 0);
      this.each(this.rowGroup(i), i, (issuer, tiles) => {
        const x = block('x', row * e(s.K) + e(k0), rows, e(s.K), e(k1 - k0));
        ring.load(this.b, issuer, [load(tiles, x, ring.at(count.a))], count.a);
      });
    }
  }

  private loadWeights(nb: number, k0: number, k1: number): void {
    const { s, p, count } = this;
    const ring = this.ring('weights');
    for (let j = 0; j < p.gn; j++) {
      const { col, cols } = this.block(0, j, 0, nb);
      const parts = s.swiglu ? [s.from + col, s.N / 2 + s.from + col] : [s.from + col];
      this.each(this.colGroup(j), j, (issuer, tiles) => {
        const loads = parts.map((row, i) => {
          const at = ring.at(count.w) + i * mmWeightBytes(s.format, cols, k1 - k0);
          return this.weightLoad(tiles, row, Math.min(cols, s.N - row), k0, k1, at);
        });
        ring.load(this.b, issuer, loads, count.w);
      });
    }
  }

  /** Rows `row` .. of columns k0 .. k1: a slice of each row group, together a matrix in kernel layout of its own. */
  private weightLoad(tiles: number[], row: number, rows: number, k0: number, k1: number, at: number): Dma {
    const { s } = this;
    const group = mmWeightBytes(s.format, ROWS, s.K);
    const own = mmWeightBytes(s.format, ROWS, k1 - k0);
    return load(tiles, block('w', (row / ROWS) * group + mmWeightBytes(s.format, ROWS, k0), Math.ceil(rows / ROWS), group, own), at, own);
  }

  private loadGain(): void {
    const tiles = Array.from({ length: this.p.gm * this.p.gn }, (_, t) => t);
    const ring = this.ring('gain');
    this.each(tiles, 0, (issuer, to) => ring.load(this.b, issuer, [load(to, span('g', 0, this.s.K * 4), ring.at(0))], 0));
  }

  /** x [rows, K] f32 in pieces → normed activations, whole K, in SRAM. */
  private normBlock(mb: number): void {
    const { s, p, count } = this;
    const x = this.ring('x');
    const a = this.ring('activations');
    const gain = this.ring('gain');
    for (let n = 0; n < p.normSteps; n++, count.x++) {
      for (let i = 0; i < p.gm; i++) {
        const { row, rows } = this.block(i, 0, mb, 0);
        const r0 = cut(rows, p.normSteps, n);
        const r1 = cut(rows, p.normSteps, n + 1);
        this.each(this.rowGroup(i), i, (issuer, tiles) => {
          x.load(this.b, issuer, [load(tiles, span('x', (row + r0) * s.K * 4, (r1 - r0) * s.K * 4), x.at(count.x))], count.x);
        });
        for (const t of this.rowGroup(i)) {
          const size = actBytes(s.format, s.K);
          const out = a.at(count.a) + r0 * size;
          const params = {
            ...{ x: x.at(count.x), ldx: s.K * 4, g: gain.at(0), D: s.K, eps: s.norm as number, rows: r1 - r0 },
            ...{ out, ldo: size, quant: this.quant ? 1 : 0 },
          };
          const reads = [bytes(x.at(count.x), (r1 - r0) * s.K * 4), bytes(gain.at(0), s.K * 4)];
          const writes = [bytes(out, (r1 - r0) * size)];
          const instr = vec('norm', params, (r1 - r0) * s.K, OPS.norm + (this.quant ? OPS.quantize : 0), reads, writes);
          if (count.x === 0) gain.take(instr, t, 0, false);
          x.take(instr, t, count.x);
          const part = p.normSteps === 1 ? 'all' : n === 0 ? 'first' : n === p.normSteps - 1 ? 'last' : 'middle';
          this.b.emit(t, a.fill(instr, [t], count.a, part));
        }
      }
    }
  }

  private multiply(mb: number, nb: number, kb: number): void {
    const { s, p, count } = this;
    const a = this.ring('activations');
    const w = this.ring('weights');
    const acc = this.ring('accumulators');
    const [k0, k1] = this.chunk(kb);
    const K = k1 - k0;
    const held = p.resident ? s.K : K;
    const skip = p.resident ? k0 : 0;
    for (let i = 0; i < p.gm; i++) {
      for (let j = 0; j < p.gn; j++) {
        const t = this.tile(i, j);
        const { rows: M, cols: N } = this.block(i, j, mb, nb);
        for (let half = 0; half < (s.swiglu ? 2 : 1); half++) {
          const lastHalf = half === (s.swiglu ? 1 : 0);
          // written out: a large GEMM makes hundreds of thousands of these
          const instr: Mm = {
            kind: 'mm',
            queue: 'tensor',
            format: s.format,
            M,
            N,
            K,
            waits: [],
            signals: [],
            a: a.at(count.a) + actBytes(s.format, skip),
            lda: actBytes(s.format, held),
            w: w.at(count.w) + half * mmWeightBytes(s.format, N, K),
            acc: acc.at(count.acc) + half * N * 4,
            ldc: (s.swiglu ? 2 : 1) * pad(N) * 4,
            first: kb === 0,
          };
          const lastOfA = lastHalf && (!p.resident || (nb === p.nSteps - 1 && kb === p.kSteps - 1));
          if (half === 0 && (!p.resident || (nb === 0 && kb === 0))) a.take(instr, t, count.a, lastOfA);
          else if (lastOfA) a.free(instr, t);
          if (half === 0) w.take(instr, t, count.w, lastHalf);
          else w.free(instr, t);
          if (half === 0 && kb === 0) acc.fill(instr, [t], count.acc, 'first');
          if (lastHalf && kb === p.kSteps - 1) acc.fill(instr, [t], count.acc, 'last');
          this.b.emit(t, instr);
        }
      }
    }
  }

  private finish(mb: number, nb: number): void {
    for (let i = 0; i < this.p.gm; i++) {
      for (let j = 0; j < this.p.gn; j++) {
        const t = this.tile(i, j);
        const at = this.block(i, j, mb, nb);
        if (this.s.swiglu) this.storeGated(t, at);
        else if (this.s.out === 'bf16') this.storeCast(t, at);
        else this.storePlain(t, at);
      }
    }
  }

  /** + bias, + residual, in place; then out. */
  private storePlain(t: number, { row, rows, col, cols }: Block): void {
    const { s, count } = this;
    const use = count.acc;
    const acc = this.ring('accumulators');
    const at = acc.at(use);
    const n = s.from + col;
    const valid = Math.min(cols, s.to - n);
    const y = block('y', (row * s.N + n) * 4, rows, s.N * 4, valid * 4);
    const pitch = pad(cols) * 4;
    const out = store(t, y, at, pitch);
    if (s.bias || s.accumulate) {
      const bias = s.bias ? this.ring('bias') : undefined;
      const residual = s.accumulate ? this.ring('residual') : undefined;
      bias?.load(this.b, t, [load([t], span('bias', n * 4, valid * 4), bias.at(use))], use);
      residual?.load(this.b, t, [load([t], y, residual.at(use), pitch)], use);
      const params = {
        ...{ acc: at, ldc: pitch, rows, cols: valid, bias: bias ? bias.at(use) : -1 },
        ...{ y: residual ? residual.at(use) : -1, ldy: pitch },
      };
      const whole = range(at, rows, pitch, valid * 4);
      const reads = [whole];
      if (bias) reads.push(bytes(bias.at(use), valid * 4));
      if (residual) reads.push(range(residual.at(use), rows, pitch, valid * 4));
      const instr = vec('finish', params, rows * valid, (bias ? 1 : 0) + (residual ? 1 : 0), reads, [whole]);
      acc.take(instr, t, use, false);
      bias?.take(instr, t, use);
      residual?.take(instr, t, use);
      const done = (this.done[t] ??= this.b.semaphore());
      instr.signals.push(done);
      out.waits.push(done, use + 1);
      this.b.emit(t, instr);
      acc.free(out, t);
    } else acc.take(out, t, use);
    this.b.emit(t, out);
  }

  private readonly done: number[] = [];

  private storeGated(t: number, { row, rows, col, cols }: Block): void {
    const { s, count } = this;
    const acc = this.ring('accumulators');
    const ring = this.ring('output');
    const use = count.acc;
    const F = s.N / 2;
    const quant = s.out === 'i8';
    const row1 = outBytes(s.out, cols);
    const out = ring.at(use);
    const params = { x: acc.at(use), rows, cols, out, ldo: row1, quant: quant ? 1 : 0 };
    const instr = vec(
      'swiglu',
      params,
      rows * cols,
      OPS.swiglu + (quant ? OPS.quantize : 0),
      [bytes(acc.at(use), rows * cols * 8)],
      [bytes(out, rows * row1)],
    );
    this.b.emit(t, ring.fill(acc.take(instr, t, use), [t], use));
    const n = s.from + col;
    const y = block('y', row * outBytes(s.out, F) + outBytes(s.out, n), rows, outBytes(s.out, F), row1);
    this.b.emit(t, ring.take(store(t, y, out), t, use));
  }

  /** Rounds to BF16; timed only. */
  private storeCast(t: number, { row, rows, col, cols }: Block): void {
    const { s, count } = this;
    const acc = this.ring('accumulators');
    const ring = this.ring('output');
    const use = count.acc;
    const instr = vec('cast', {}, rows * cols, 1, [bytes(acc.at(use), rows * cols * 4)], [bytes(ring.at(use), rows * cols * 2)]);
    this.b.emit(t, ring.fill(acc.take(instr, t, use), [t], use));
    const y = block('y', (row * s.N + s.from + col) * 2, rows, s.N * 2, cols * 2);
    this.b.emit(t, ring.take(store(t, y, ring.at(use)), t, use));
  }
}

export { actPiece, blockSizes };
