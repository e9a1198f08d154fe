/** The wasm kernels in Node, built when they are not there. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build, ROOT } from '../../cli/build.ts';
import { createWasm, type WasmBackend } from '../../kernels/wasm/index.ts';

const FOLDER = join(ROOT, '.build/wasm');

/** A backend with this much memory. Node before 22 has no relaxed SIMD and takes the plain module, which gives the same bits. */
export async function nodeWasm(memoryBytes: number): Promise<WasmBackend> {
  if (!existsSync(join(FOLDER, 'turnstone-simd.wasm'))) await build((line) => console.error(line), ['wasm']);
  const module = async (name: string) => new WebAssembly.Module(await readFile(join(FOLDER, `turnstone-${name}.wasm`)));
  const simd = await module('simd');
  const relaxed = await module('relaxed').catch(() => undefined);
  return createWasm({ modules: { simd, ...(relaxed && { relaxed }) }, memoryBytes });
}
