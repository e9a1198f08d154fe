/**
 * A device is a description, not code: what it has, how fast each part is, and where the figures come from.
 * `checkDevice` refuses one that could not exist, naming the field.
 */

/** Element types of a tensor unit. A device lists the ones it has. */
export type TensorType = 'bf16' | 'fp8' | 'fp6' | 'fp4' | 'int8' | 'int9' | 'int6';
const TENSOR_TYPES: readonly TensorType[] = ['bf16', 'fp8', 'fp6', 'fp4', 'int8', 'int9', 'int6'];

export interface DeviceSpec {
  readonly name: string;
  readonly summary: string;
  /** Where the figures come from. */
  readonly sources: readonly string[];
  /** Which figures nobody published, and how they were chosen. */
  readonly assumed: readonly string[];
  readonly clockGHz: number;
  readonly watts: number;
  readonly clusters: number;
  readonly tilesPerCluster: number;
  readonly tile: {
    readonly sramKiB: number;
    readonly tensor: {
      readonly macsPerCycle: { readonly [type in TensorType]?: number };
      /** Outputs of one pass: m rows by n columns; the depth follows from the MACs a cycle. */
      readonly shape: { readonly m: number; readonly n: number };
      readonly fillCycles: number;
      /** What the accumulators can multiply each group of 32 products by: nothing, a power of two (MX), or any binary32. */
      readonly groupScale: 'none' | 'e8m0' | 'fp32';
    };
    readonly vector: { readonly lanes16: number; readonly lanes32: number; readonly startCycles: number };
    /** Half of the engines (rounded up) load, the others store. */
    readonly dma: { readonly engines: number; readonly bytesPerCycle: number; readonly startCycles: number };
  };
  readonly cluster: { readonly sramKiB: number };
  /** `efficiency`: the part of GBps that a stream of bursts gets at best. */
  readonly hbm: {
    readonly GB: number;
    readonly GBps: number;
    readonly efficiency: number;
    readonly latencyNs: number;
    readonly burstBytes: number;
  };
  readonly noc: { readonly bytesPerCycle: number; readonly latencyCycles: number; readonly multicast: boolean };
  /** Between chips, each way. */
  readonly links: {
    readonly maxChips: number;
    readonly GBps: number;
    readonly efficiency: number;
    readonly latencyUs: number;
    readonly startUs: number;
  };
  readonly host: { readonly GBps: number; readonly latencyUs: number };
  readonly launch: { readonly opUs: number; readonly instructionCycles: number; readonly semaphoreCycles: number };
  /** Published peaks in T(FL)OP/s, which the parts must add up to. */
  readonly stated: { readonly [type in TensorType]?: number };
}

/** Fields with the range in which silicon of this decade lies. */
const RANGES: readonly (readonly [path: string, lo: number, hi: number, whole?: 'whole'])[] = [
  ['clockGHz', 0.05, 6],
  ['watts', 0.1, 5000],
  ['clusters', 1, 64, 'whole'],
  ['tilesPerCluster', 1, 64, 'whole'],
  ['tile.sramKiB', 16, 65536, 'whole'],
  ['tile.tensor.shape.m', 1, 256, 'whole'],
  ['tile.tensor.shape.n', 1, 256, 'whole'],
  ['tile.tensor.fillCycles', 0, 10000, 'whole'],
  ['tile.vector.lanes16', 1, 8192, 'whole'],
  ['tile.vector.lanes32', 1, 4096, 'whole'],
  ['tile.vector.startCycles', 0, 10000, 'whole'],
  ['tile.dma.engines', 2, 32, 'whole'],
  ['tile.dma.bytesPerCycle', 1, 4096],
  ['tile.dma.startCycles', 0, 10000, 'whole'],
  ['cluster.sramKiB', 0, 1 << 20, 'whole'],
  ['hbm.GB', 0.01, 2048],
  ['hbm.GBps', 0.1, 100_000],
  ['hbm.efficiency', 0.05, 1],
  ['hbm.latencyNs', 10, 100_000],
  ['hbm.burstBytes', 1, 4096, 'whole'],
  ['noc.bytesPerCycle', 1, 1 << 20],
  ['noc.latencyCycles', 0, 100_000, 'whole'],
  ['links.maxChips', 1, 64, 'whole'],
  ['links.GBps', 0.01, 100_000],
  ['links.efficiency', 0.05, 1],
  ['links.latencyUs', 0.01, 10_000],
  ['links.startUs', 0, 10_000],
  ['host.GBps', 0.01, 10_000],
  ['host.latencyUs', 0, 100_000],
  ['launch.opUs', 0, 10_000],
  ['launch.instructionCycles', 0, 10_000, 'whole'],
  ['launch.semaphoreCycles', 0, 10_000, 'whole'],
];

function at(o: unknown, path: string): unknown {
  let v = o;
  for (const key of path.split('.')) v = v !== null && typeof v === 'object' ? (v as Record<string, unknown>)[key] : undefined;
  return v;
}

/** Returns the description, checked. Throws naming the field and what it may be. */
export function checkDevice(raw: unknown): DeviceSpec {
  const name = at(raw, 'name');
  if (typeof name !== 'string' || !/^[a-z0-9][a-z0-9.-]{0,63}$/.test(name)) {
    throw new Error(`device: name is ${JSON.stringify(name)}, must be 1 to 64 of a-z, 0-9, dot and dash`);
  }
  const bad = (what: string): Error => new Error(`device ${name}: ${what}`);
  if (typeof at(raw, 'summary') !== 'string') throw bad('summary must be a string');
  for (const key of ['sources', 'assumed']) {
    const list = at(raw, key);
    if (!Array.isArray(list) || list.some((s) => typeof s !== 'string')) throw bad(`${key} must be a list of strings`);
  }
  for (const [path, lo, hi, whole] of RANGES) {
    const v = at(raw, path);
    if (typeof v !== 'number' || !Number.isFinite(v) || v < lo || v > hi || (whole && !Number.isInteger(v))) {
      throw bad(`${path} is ${JSON.stringify(v)}, must be ${whole ? 'a whole number' : 'a number'} in ${lo}..${hi}`);
    }
  }
  const d = raw as DeviceSpec;
  const { tensor, vector } = d.tile;
  if (typeof d.noc.multicast !== 'boolean') throw bad('noc.multicast must be true or false');
  if (!['none', 'e8m0', 'fp32'].includes(tensor.groupScale)) throw bad('tile.tensor.groupScale must be none, e8m0 or fp32');
  const macs = at(raw, 'tile.tensor.macsPerCycle');
  if (macs === null || typeof macs !== 'object') throw bad('tile.tensor.macsPerCycle must name at least bf16');
  for (const [type, n] of Object.entries(macs)) {
    if (!TENSOR_TYPES.includes(type as TensorType))
      throw bad(`tile.tensor.macsPerCycle.${type}: no such type, have ${TENSOR_TYPES.join(', ')}`);
    const { m, n: cols } = tensor.shape;
    if (!Number.isInteger(n) || n < 1 || n > 1 << 20 || n % (m * cols) !== 0) {
      throw bad(`tile.tensor.macsPerCycle.${type} is ${n}, must be a multiple of shape m · n = ${m * cols} up to ${1 << 20}`);
    }
  }
  if (!tensor.macsPerCycle.bf16) throw bad('tile.tensor.macsPerCycle.bf16 is missing: everything falls back to it');
  if (vector.lanes32 > vector.lanes16) throw bad(`tile.vector.lanes32 ${vector.lanes32} is more than lanes16 ${vector.lanes16}`);
  if (d.clusters * d.tilesPerCluster > 1024) throw bad(`clusters · tilesPerCluster is ${d.clusters * d.tilesPerCluster}, more than 1024`);
  const tilesBps = d.clusters * d.tilesPerCluster * d.tile.dma.bytesPerCycle * d.tile.dma.engines * d.clockGHz;
  if (tilesBps < 0.5 * d.hbm.GBps) {
    throw bad(`hbm.GBps ${d.hbm.GBps} could never be used: all DMA engines together move ${tilesBps.toFixed(1)} GB/s`);
  }
  const stated = at(raw, 'stated');
  if (stated === null || typeof stated !== 'object') throw bad('stated must be an object of published peaks, {} when there are none');
  for (const [type, tops] of Object.entries(stated)) {
    const have = peakTops(d, type as TensorType);
    if (typeof tops !== 'number' || !(Math.abs(have - tops) <= 0.05 * tops)) {
      throw bad(`stated.${type} is ${tops} T(FL)OP/s but tiles · MACs · clock give ${have.toFixed(1)}`);
    }
  }
  return d;
}

export const tilesOf = (d: DeviceSpec): number => d.clusters * d.tilesPerCluster;

/** Peak of one chip in T(FL)OP/s, 0 for a type it lacks. */
export function peakTops(d: DeviceSpec, type: TensorType): number {
  return (2 * tilesOf(d) * (d.tile.tensor.macsPerCycle[type] ?? 0) * d.clockGHz) / 1000;
}
