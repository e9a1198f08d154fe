/** The wasm kernels in Node, as they were built. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { detectRelaxed, type WasmModules } from '../kernels/wasm/index.ts';
import { ROOT } from './build.ts';

/** Both variants; without the relaxed one where this Node does not know relaxed SIMD (before 22). The plain one gives the same bits. */
export async function wasmModules(): Promise<WasmModules> {
  const module = async (variant: string) => WebAssembly.compile(await readFile(join(ROOT, `.build/wasm/turnstone-${variant}.wasm`)));
  const simd = await module('simd');
  return detectRelaxed() ? { simd, relaxed: await module('relaxed') } : { simd };
}
