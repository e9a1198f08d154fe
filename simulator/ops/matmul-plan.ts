/** How a matmul is cut for a device: tiles into a grid, regions into blocks, K into chunks. */
import { type DeviceSpec, tilesOf } from '../device/spec.ts';
import { Ring, SramError } from '../program/builder.ts';
import { ACT_BLOCK, actBytes, columnUnit, isQuant, type MmFormat, mmWeightBytes } from '../program/isa.ts';
import { drainCycles, hbmBytesPerCycle, hbmLatencyCycles, onVector, tensorCycles } from '../run/costs.ts';
import { cut, DIV, type Options } from './common.ts';

export interface MatmulShape {
  readonly T: number;
  readonly K: number;
  /** Columns of the output that this chip computes: from .. to of N (of F with swiglu). */
  readonly from: number;
  readonly to: number;
  readonly N: number; // rows of the weight
  readonly format: MmFormat;
  readonly bias: boolean;
  readonly accumulate: boolean;
  /** The input is f32 x [T, K], normed here; its eps. */
  readonly norm?: number;
  /** Output silu(gate) · up: rows `from` .. `to` of gate and of up. */
  readonly swiglu: boolean;
  readonly out: 'f32' | 'i8' | 'bf16';
}

export interface MatmulPlan {
  gm: number;
  gn: number;
  mSteps: number;
  nSteps: number;
  kSteps: number;
  /** The whole K of a row block stays in SRAM while its columns pass. */
  resident: boolean;
  depth: number;
  accDepth: number;
  /** Row blocks are normed in this many pieces. */
  normSteps: number;
  estimate: number;
}

/** Rows and columns are dealt out in these units. */
export const units = (d: DeviceSpec, s: MatmulShape): { row: number; col: number } => ({
  row: d.tile.tensor.shape.m,
  col: s.swiglu ? 32 : Math.max(16, d.tile.tensor.shape.n),
});

/** Where part i of `parts` starts when `total` is dealt out in whole units. */
export const deal = (total: number, unit: number, parts: number, i: number): number =>
  Math.min(total, cut(DIV(total, unit), parts, i) * unit);

/** Largest block of each kind, elements. */
export function blockSizes(d: DeviceSpec, s: MatmulShape, p: Pick<MatmulPlan, 'gm' | 'gn' | 'mSteps' | 'nSteps' | 'kSteps'>) {
  const u = units(d, s);
  return {
    M: Math.min(s.T, DIV(DIV(DIV(s.T, u.row), p.gm), p.mSteps) * u.row),
    N: DIV(DIV(DIV(s.to - s.from, u.col), p.gn), p.nSteps) * u.col,
    K: DIV(s.K / columnUnit(s.format), p.kSteps) * columnUnit(s.format),
  };
}

/** Bytes of activations [M, K]. */
export const actPiece = (f: MmFormat, M: number, K: number): number => M * actBytes(f, K);

/** Bytes of n outputs of a row. */
export const outBytes = (out: MatmulShape['out'], n: number): number =>
  out === 'i8' ? (n / 32) * ACT_BLOCK : n * (out === 'bf16' ? 2 : 4);

/** The buffers a plan needs in each tile. */
export function pieces(d: DeviceSpec, s: MatmulShape, p: Omit<MatmulPlan, 'estimate'>): { label: string; bytes: number; depth: number }[] {
  const { M, N, K } = blockSizes(d, s, p);
  const both = s.swiglu ? 2 : 1;
  const list = [
    {
      label: 'activations',
      bytes: actPiece(s.format, M, p.resident ? s.K : K),
      depth: p.resident ? (p.mSteps > 1 ? p.depth : 1) : p.depth,
    },
    { label: 'weights', bytes: both * mmWeightBytes(s.format, N, K), depth: p.depth },
    { label: 'accumulators', bytes: both * M * N * 4, depth: p.accDepth },
  ];
  if (s.norm !== undefined) {
    list.push({ label: 'x', bytes: DIV(M, p.normSteps) * s.K * 4, depth: p.depth }, { label: 'gain', bytes: s.K * 4, depth: 1 });
  }
  if (s.bias) list.push({ label: 'bias', bytes: N * 4, depth: 1 });
  if (s.accumulate) list.push({ label: 'residual', bytes: M * N * 4, depth: 1 });
  if (s.swiglu || s.out === 'bf16') list.push({ label: 'output', bytes: M * outBytes(s.out, N), depth: p.accDepth });
  return list;
}

/** Cycles a plan should take: the slowest of tensor and vector unit, a tile's DMA and HBM, and what is exposed before the first multiply. */
function estimate(d: DeviceSpec, s: MatmulShape, p: Omit<MatmulPlan, 'estimate'>, o: Options): number {
  const { M, N, K } = blockSizes(d, s, p);
  const cols = s.to - s.from;
  const both = s.swiglu ? 2 : 1;
  const steps = p.mSteps * p.nSteps * p.kSteps;
  const one = Math.max(tensorCycles(d, s.format, M, both * N, K) - d.tile.tensor.fillCycles, drainCycles(d, s.format, M, both * N, K));
  const lanes = d.tile.vector.lanes32;
  const normed = s.norm !== undefined ? (p.mSteps * M * s.K * 11) / lanes : 0;
  const finish =
    (p.mSteps * p.nSteps * M * N * ((s.swiglu ? 31 : 0) + (s.bias ? 1 : 0) + (s.accumulate ? 1 : 0) + (s.out === 'bf16' ? 1 : 0))) / lanes;
  const compute = steps * (one + d.launch.instructionCycles) + normed + (onVector(s.format) ? finish : p.accDepth > 1 ? 0 : finish);
  const a = s.norm !== undefined ? s.T * s.K * 4 : actPiece(s.format, s.T, s.K) * (p.resident ? 1 : p.nSteps);
  const w = both * mmWeightBytes(s.format, cols, s.K) * p.mSteps;
  const spread = { a: o.multicast && d.noc.multicast ? 1 : p.gn, w: o.multicast && d.noc.multicast ? 1 : p.gm };
  const y = s.T * outBytes(s.out, cols) * (s.accumulate ? 2 : 1);
  const hbm = (a * spread.a + w * spread.w + y) / (hbmBytesPerCycle(d) * d.hbm.efficiency);
  const engines = Math.ceil(d.tile.dma.engines / 2) * d.tile.dma.bytesPerCycle;
  const leaders = o.multicast && d.noc.multicast ? p.gm * p.gn : 1;
  const own = leaders === 1 ? (a / p.gm + w / p.gn) / engines : Math.max(a / p.gm, w / p.gn) / engines;
  const chunk = Math.max(actPiece(s.format, M, p.resident ? 0 : K), both * mmWeightBytes(s.format, N, K)) / engines;
  const latency =
    hbmLatencyCycles(d) + d.noc.latencyCycles + d.tile.dma.startCycles + 2 * d.launch.semaphoreCycles + d.tile.tensor.fillCycles;
  const first = latency + (actPiece(s.format, M, p.resident ? s.K : K) + both * mmWeightBytes(s.format, N, K)) / engines;
  // a piece is loaded and used `depth` at a time: what of the round trip is not hidden stalls every step
  const trip = (steps * (latency + Math.max(chunk, hbm / steps) + one)) / p.depth;
  const parts = [compute, hbm, own, trip];
  const slowest = Math.max(...parts);
  const rest = parts.reduce((a, b) => a + b, 0) - slowest;
  return slowest + 0.02 * rest + first + (M * N * 4) / d.tile.dma.bytesPerCycle / p.accDepth;
}

const STEPS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

/** The plan with the smallest estimate that fits SRAM. Throws SramError when none does. */
export function planMatmul(d: DeviceSpec, s: MatmulShape, o: Options): MatmulPlan {
  const limit = d.tile.sramKiB * 1024;
  const tiles = tilesOf(d);
  const u = units(d, s);
  const rowUnits = DIV(s.T, u.row);
  const colUnits = DIV(s.to - s.from, u.col);
  const kUnits = isQuant(s.format) ? s.K / columnUnit(s.format) : DIV(s.K, 64);
  const depth = o.doubleBuffer ? 2 : 1;
  let best: MatmulPlan | undefined;
  for (let gm = 1; gm <= Math.min(tiles, rowUnits); gm++) {
    const gn = Math.min(Math.floor(tiles / gm), colUnits);
    if (gm > 1 && gn === Math.min(Math.floor(tiles / (gm - 1)), colUnits) && DIV(rowUnits, gm) === DIV(rowUnits, gm - 1)) continue;
    for (const mSteps of STEPS) {
      if (mSteps > Math.floor(rowUnits / gm)) break;
      for (const nSteps of STEPS) {
        if (nSteps > Math.floor(colUnits / gn)) break;
        for (const kSteps of [1, 2, 4, 8, 16, 32, 64, 128]) {
          if (kSteps > kUnits) break;
          for (const resident of s.norm !== undefined ? [true] : [false, true]) {
            for (const accDepth of o.doubleBuffer ? [2, 1] : [1]) {
              const plan = { gm, gn, mSteps, nSteps, kSteps, resident, depth, accDepth, normSteps: 1 };
              if (s.norm !== undefined) {
                const parts = gm * mSteps;
                const smallest = Math.min(Math.floor(rowUnits / parts) * u.row, s.T - deal(s.T, u.row, parts, parts - 1));
                plan.normSteps = Math.max(1, Math.min(smallest, DIV(blockSizes(d, s, plan).M * s.K * 4, limit / 8)));
              }
              const bytes = pieces(d, s, plan).reduce((sum, x) => sum + Ring.size(x.bytes, x.depth), 0);
              if (bytes > limit) continue;
              const cost = estimate(d, s, plan, o);
              if (!best || cost < best.estimate) best = { ...plan, estimate: cost };
              break;
            }
          }
        }
      }
    }
  }
  if (!best)
    throw new SramError(`matmul [${s.T}, ${s.K}] x [${s.N}, ${s.K}] ${s.format}: no tiling fits the ${limit} bytes of a tile of ${d.name}`);
  return best;
}
