import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createWasm, type WasmBackend, type WasmModules } from '../../kernels/wasm/index.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The wasm modules, built first when they are stale. */
export function wasmModules(): WasmModules {
  execFileSync(process.execPath, [`${root}wasm/build.mjs`]);
  const load = (name: string) => new WebAssembly.Module(readFileSync(`${root}.build/wasm/turnstone-${name}.wasm`));
  const simd = load('simd');
  try {
    return { simd, relaxed: load('relaxed') };
  } catch {
    return { simd }; // this engine has no relaxed SIMD
  }
}

export const wasmBackend = (modules: WasmModules, memoryBytes: number): WasmBackend => createWasm({ modules, memoryBytes });
