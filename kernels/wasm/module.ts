import type { WeightFormat } from '../../engine/backend.ts';

/** The functions of wasm/src/index.ts. Numbers are byte offsets, counts or 0/1 flags; rows and tokens come as [from, to). */
export type Fn = (...args: number[]) => void;

/** Formats of integers with i8 activations: those that wasm/generate.mjs writes kernels for. */
export type BlockFormat = Exclude<WeightFormat, 'f32'>;

/** Written by wasm/generate.mjs for every format; what is by dot-add is in the relaxed module only. */
type Generated = { [F in BlockFormat as `embed_${F}` | `${'pair' | 'dot'}_${F}` | `${'pair' | 'dot'}_tokens_${F}`]: Fn };

export interface Kernels extends Generated {
  /** What tells how the machine makes dot-add; see wasm/src/dot-add.ts. */
  dotAdd: () => number;
  clear: Fn;
  embedF32: Fn;
  norm: Fn;
  matmulF32: Fn;
  addLowRank: Fn;
  matmulW4: Fn;
  matmulW4One: Fn;
  matmulW8: Fn;
  matmulW8One: Fn;
  spreadW4: Fn;
  spreadW8: Fn;
  wideW4: WebAssembly.Global;
  rowsW4: WebAssembly.Global;
  wideW8: WebAssembly.Global;
  rowsW8: WebAssembly.Global;
  ropeStore: Fn;
  shortConv: Fn;
  attentionF32: Fn;
  attentionI8: Fn;
  swiglu: Fn;
  geglu: Fn;
  addNorm: Fn;
  scale: Fn;
  editLogits: (...args: number[]) => number;
  maskLogits: Fn;
  topk: Fn;
}

/** A module whose one function uses i16x8.relaxed_dot_i8x16_i7x16_s. */
const RELAXED_PROBE = Uint8Array.of(
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // magic, version
  ...[0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b], // type: () → v128
  ...[0x03, 0x02, 0x01, 0x00], // one function of it
  ...[0x0a, 0x0f, 0x01, 0x0d, 0x00], // code: 13 bytes, no locals
  ...[0x41, 0x00, 0xfd, 0x0f, 0x41, 0x00, 0xfd, 0x0f, 0xfd, 0x92, 0x02, 0x0b], // i8x16.splat 0, again, the dot, end
);

/** Whether this engine knows relaxed SIMD. Validation only: works where generating code from bytes is forbidden. */
export function detectRelaxed(): boolean {
  return WebAssembly.validate(RELAXED_PROBE);
}

export interface WasmModules {
  relaxed?: WebAssembly.Module;
  simd: WebAssembly.Module;
}

export function instantiate(modules: WasmModules, memory: WebAssembly.Memory): { kernels: Kernels; variant: 'relaxed' | 'simd' } {
  const relaxed = modules.relaxed && detectRelaxed() ? modules.relaxed : undefined;
  const instance = new WebAssembly.Instance(relaxed ?? modules.simd, { env: { memory } });
  return { kernels: instance.exports as WebAssembly.Exports & Kernels, variant: relaxed ? 'relaxed' : 'simd' };
}
