/** Where this process gets WebGPU from: Deno's own `navigator.gpu`, or Dawn from the npm package `webgpu` in Node. */
import { createRequire } from 'node:module';
import type { GpuLike } from '../../kernels/webgpu/device.ts';

interface Dawn {
  create(flags: string[]): GpuLike;
  globals: Record<string, unknown>;
}

/** Dawn ends with its root object, and what is still in use of it takes the process along: it is kept. */
let dawnGpu: GpuLike | undefined;

export const INSTALL = 'npm i --no-save webgpu@0.6.2';

/** `gpu`, or `why` there is none and what to do. WEBGPU_MODULE names another place of the package. */
export function hostGpu(): { gpu: GpuLike; runtime: string } | { why: string } {
  const own = (globalThis as { navigator?: { gpu?: GpuLike } }).navigator?.gpu;
  if (own) return { gpu: own, runtime: 'native' };
  try {
    const dawn = createRequire(import.meta.url)(process.env.WEBGPU_MODULE ?? 'webgpu') as Dawn;
    Object.assign(globalThis, dawn.globals);
    dawnGpu ??= dawn.create([]);
    return { gpu: dawnGpu, runtime: 'Dawn' };
  } catch (error) {
    const missing = (error as { code?: string }).code === 'MODULE_NOT_FOUND';
    return { why: missing ? `the package webgpu is not installed (${INSTALL})` : `the package webgpu does not load: ${error}` };
  }
}
