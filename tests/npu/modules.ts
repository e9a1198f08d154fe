import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { TileModules } from '../../simulator/run/kernels.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The tiles' wasm functions, built first when they are stale. */
export function tileModules(): TileModules {
  execFileSync(process.execPath, [`${root}wasm/npu/build.mjs`]);
  const load = (name: string) => new WebAssembly.Module(readFileSync(`${root}.build/wasm/turnstone-npu-${name}.wasm`));
  const simd = load('simd');
  try {
    return { simd, relaxed: load('relaxed') };
  } catch {
    return { simd }; // this engine has no relaxed SIMD
  }
}
