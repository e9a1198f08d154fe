/** The wasm kernels in Node, built when they are not there. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { build, ROOT } from '../../cli/build.ts';
import { wasmModules } from '../../cli/wasm.ts';
import { createWasm, type WasmBackend } from '../../kernels/wasm/index.ts';

/** A backend with this much memory. */
export async function nodeWasm(memoryBytes: number): Promise<WasmBackend> {
  if (!existsSync(join(ROOT, '.build/wasm/turnstone-simd.wasm'))) await build((line) => console.error(line), ['wasm']);
  return createWasm({ modules: await wasmModules(), memoryBytes });
}
