/** Cycles each unit needs for an instruction, from the device's figures alone. */
import type { WeightFormat } from '../../engine/backend.ts';
import { FORMATS, scaleColumns } from '../../engine/formats.ts';
import type { DeviceSpec, TensorType } from '../device/spec.ts';
import { type Attend, type Instr, isQuant, isTimed, type Mm, type MmFormat } from '../program/isa.ts';

/** Vector operations a 16-bit lane that take a weight to the integer of a product, and to BF16 where the device has none: two a plane of bits, one a table. */
const UNPACK: Record<WeightFormat, { int: number; bf16: number }> = {
  f32: { int: 0, bf16: 0 },
  w8: { int: 0, bf16: 1 },
  w4: { int: 1, bf16: 2 },
  q4_1: { int: 1, bf16: 2 },
  q5_0: { int: 3, bf16: 4 },
  q5_1: { int: 3, bf16: 4 },
  iq4_nl: { int: 2, bf16: 3 },
  mxfp4: { int: 2, bf16: 3 },
  q2_k: { int: 1, bf16: 2 },
  q3_k: { int: 3, bf16: 4 },
  q4_k: { int: 1, bf16: 2 },
  q5_k: { int: 3, bf16: 4 },
  q6_k: { int: 3, bf16: 4 },
  iq4_xs: { int: 2, bf16: 3 },
  any_k: { int: 3, bf16: 4 },
};

/** Formats that the vector unit multiplies, for want of a tensor type. */
export const onVector = (f: MmFormat): boolean => !isTimed(f) && !isQuant(f);

/** The tensor type that multiplies this format: integers run in BF16 where the device has none (8 bits of significand hold them). */
export function tensorType(d: DeviceSpec, f: MmFormat): TensorType | undefined {
  if (onVector(f)) return undefined;
  if (f === 'bf16') return 'bf16';
  const macs = d.tile.tensor.macsPerCycle;
  if (f === 'fp8' || f === 'fp4') return macs[f] ? f : 'bf16';
  return macs.int8 ? 'int8' : macs.int9 ? 'int9' : 'bf16';
}

/** MACs a cycle of one tile for this format; f32 runs on the vector unit, a multiply and an add. */
export function macsPerCycle(d: DeviceSpec, f: MmFormat): number {
  const type = tensorType(d, f);
  return type ? (d.tile.tensor.macsPerCycle[type] as number) : d.tile.vector.lanes32 / 2;
}

/** Cycles of the tensor unit for [M, K] · [N, K]ᵀ: whole passes of its shape, then the fill. */
export function tensorCycles(d: DeviceSpec, f: MmFormat, M: number, N: number, K: number): number {
  if (onVector(f)) return 0;
  const { m, n } = d.tile.tensor.shape;
  const depth = macsPerCycle(d, f) / (m * n);
  return Math.ceil(M / m) * Math.ceil(N / n) * Math.ceil(K / depth) + d.tile.tensor.fillCycles;
}

export const vectorCycles = (d: DeviceSpec, elems: number, ops: number): number =>
  Math.ceil(elems / d.tile.vector.lanes32) * ops + d.tile.vector.startCycles;

/**
 * What the vector unit does while the tensor unit multiplies: for blocks of 32 with scales of their own, a multiply of
 * the scales, one with the sum and an add an output and block, unless the accumulators take a scale; and unpacking
 * weights to BF16 where there are no integers; a minimum is a multiply and an add more. f32 is done here alone.
 */
export function drainCycles(d: DeviceSpec, f: MmFormat, M: number, N: number, K: number): number {
  if (onVector(f)) return vectorCycles(d, M * N, 2 * K);
  if (isTimed(f)) return 0;
  const unpack = UNPACK[f][tensorType(d, f) === 'bf16' ? 'bf16' : 'int'];
  const unpacked = Math.ceil((N * K) / d.tile.vector.lanes16) * unpack;
  const { minima } = FORMATS[f];
  const sums = M * N * (K / scaleColumns(f));
  if (d.tile.tensor.groupScale === 'fp32') return unpacked + (minima ? vectorCycles(d, sums, 2) : 0);
  return unpacked + vectorCycles(d, sums, minima ? 5 : 3);
}

/** Tensor and vector cycles of an instruction of the tensor queue; it lasts as long as the longer. */
export function tensorQueueCycles(d: DeviceSpec, i: Mm | Attend): [tensor: number, vector: number] {
  if (i.kind === 'mm') return [tensorCycles(d, i.format, i.M, i.N, i.K), drainCycles(d, i.format, i.M, i.N, i.K)];
  const format = i.p.f32 ? 'f32' : 'int8';
  const tensor = i.timed.macs.reduce((sum, [M, N, K]) => sum + tensorCycles(d, format, M, N, K), 0);
  return [tensor, vectorCycles(d, i.timed.elems, i.timed.ops)];
}

/** HBM bytes of runs of `len`: whole bursts. */
export function burstBytes(d: DeviceSpec, runs: number, len: number): number {
  const b = d.hbm.burstBytes;
  return runs * Math.ceil(len / b) * b;
}

/** Bytes a cycle that HBM gives a chip, at peak. */
export const hbmBytesPerCycle = (d: DeviceSpec): number => d.hbm.GBps / d.clockGHz;

export const hbmLatencyCycles = (d: DeviceSpec): number => Math.round(d.hbm.latencyNs * d.clockGHz);

export const nameOf = (i: Instr): string =>
  i.kind === 'mm'
    ? `mm ${i.format} ${i.M}x${i.N}x${i.K}`
    : i.kind === 'vec'
      ? i.fn
      : i.kind === 'dma'
        ? `${i.queue} ${i.hbm.buf}`
        : 'attend';
