/** The tensor and vector units' functions in WebAssembly (wasm/npu/index.ts); without them the tiles compute in JavaScript, the same bits. */
import type { PlaneName } from '../../engine/planes.ts';

type Fn = (...args: number[]) => void;

/** Products by format: acc, ldc, a, lda, w, M, K, rows from and to, scratch. */
export type Multiplies = { [F in PlaneName as `multiply_${F}`]: Fn } & { multiplyF32: Fn; multiplyW8: Fn; multiplyW4: Fn };

export interface TileKernels extends Multiplies {
  attendI8: Fn;
  attendStart: Fn;
  attendEnd: Fn;
  norm: Fn;
  swiglu: Fn;
  geglu: Fn;
  addNorm: Fn;
  ropeStore: Fn;
}

/** Both builds of wasm/npu; `relaxed` is used where the engine compiles it. */
export interface TileModules {
  relaxed?: WebAssembly.Module;
  simd: WebAssembly.Module;
}

/** Where the scratch of single calls starts, behind the modules' own constants, and where the first tile does. */
export const SCRATCH = 4096;
export const SCRATCH_BYTES = 1 << 20;
/** 0, 1, 2 … 15 as u32: positions of rows that were gathered. */
export const IOTA = SCRATCH_BYTES - 64;

export function instantiateTiles(modules: TileModules, memory: WebAssembly.Memory): TileKernels {
  const instance = new WebAssembly.Instance(modules.relaxed ?? modules.simd, { env: { memory } });
  new Uint32Array(memory.buffer, IOTA, 16).set(Array.from({ length: 16 }, (_, i) => i));
  return instance.exports as WebAssembly.Exports & TileKernels;
}
