/** What the browser runs: the case suite, the engine and the faults, on functions that a test calls through `window`. */
import { type Adapter, createWebGpu, type Features, openDevice, type WebGpuBackend } from '../../kernels/webgpu/index.ts';
import { cases, compareCase } from '../kernels/cases/index.ts';
import { shaders } from '../../web/src/device/shaders.ts';

export interface CaseResult {
  name: string;
  failure: string | null;
  error: number;
  tolerance: number;
}

async function runCases(without: (keyof Features)[], ops: string[]): Promise<{ adapter: string | null; features?: Features; results: CaseResult[] }> {
  const adapter = await openDevice(navigator.gpu, without);
  if (!adapter) return { adapter: null, results: [] };
  const results: CaseResult[] = [];
  for (const c of cases) {
    if (ops.length > 0 && !ops.includes(c.op)) continue;
    const backend = createWebGpu(adapter.device, { shaders, features: adapter.features });
    const name = `${c.op} ${c.name}`;
    try {
      results.push({ name, tolerance: c.tolerance, ...(await compareCase(c, backend)) });
    } catch (error) {
      results.push({ name, tolerance: c.tolerance, failure: String(error), error: Number.POSITIVE_INFINITY });
    }
    backend.dispose();
  }
  adapter.device.destroy();
  return { adapter: adapter.name, features: adapter.features, results };
}

const api = { runCases };
export type BrowserApi = typeof api;
export type { Adapter, WebGpuBackend };
Object.assign(window, { api });
