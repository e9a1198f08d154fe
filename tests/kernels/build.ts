import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Builds the wasm modules, of kernels and of tiles, where they are stale. */
export function buildWasm(): void {
  for (const script of ['wasm/build.mjs', 'wasm/npu/build.mjs']) execFileSync(process.execPath, [root + script]);
}

/** Vitest's global setup: once a run, and not once a file that computes. */
export default function setup(): void {
  buildWasm();
  process.env.WASM_BUILT = '1'; // the workers inherit it
}
