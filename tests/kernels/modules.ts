import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createWasm, type WasmBackend, type WasmModules } from '../../kernels/wasm/index.ts';
import { buildWasm } from './build.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The wasm modules; built first when they are stale, where no global setup has done so. */
export function wasmModules(): WasmModules {
  if (!process.env.WASM_BUILT) buildWasm();
  const load = (name: string) => new WebAssembly.Module(readFileSync(`${root}.build/wasm/turnstone-${name}.wasm`));
  const simd = load('simd');
  try {
    return { simd, relaxed: load('relaxed') };
  } catch {
    return { simd }; // this engine has no relaxed SIMD
  }
}

export const wasmBackend = (modules: WasmModules, memoryBytes: number): WasmBackend => createWasm({ modules, memoryBytes });
