import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { TileModules } from '../../simulator/run/kernels.ts';
import { buildWasm } from '../kernels/build.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The tiles' wasm functions; built first when they are stale, where no global setup has done so. */
export function tileModules(): TileModules {
  if (!process.env.WASM_BUILT) buildWasm();
  const load = (name: string) => new WebAssembly.Module(readFileSync(`${root}.build/wasm/turnstone-npu-${name}.wasm`));
  const simd = load('simd');
  try {
    return { simd, relaxed: load('relaxed') };
  } catch {
    return { simd }; // this engine has no relaxed SIMD
  }
}
