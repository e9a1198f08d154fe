/** What the browser runs: functions that a test calls through `window.api`. */
import { createWebGpu, type Features, openDevice } from '../../kernels/webgpu/index.ts';
import { urlPack } from '../../models/pack/source.ts';
import { wasmMaker, webGpuMaker } from '../../serving/run/open.ts';
import { shaders } from '../../web/src/device/shaders.ts';
import type { Case } from '../kernels/cases/index.ts';
import { cases, compareCase } from '../kernels/cases/index.ts';
import { checkEngine, type EngineReport } from './engine-check.ts';
import { checkFaults, type FaultReport } from './faults-check.ts';

export interface CaseResult {
  name: string;
  failure: string | null;
  error: number;
  tolerance: number;
}

export interface CasesReport {
  adapter: string | null;
  features?: Features;
  results: CaseResult[];
}

/** Formats whose products are computed whatever the device lacks: how the others are unpacked does not depend on it. */
const ALWAYS = /^(f32|w4|w8|q5_k) /;

/** `all`: every pair of a format and a shape, too, and of a format and a device that lacks something. */
async function runCases(without: (keyof Features)[], all: boolean): Promise<CasesReport> {
  const adapter = await openDevice(navigator.gpu, without);
  if (!adapter) return { adapter: null, results: [] };
  const backend = createWebGpu(adapter.device, { shaders, features: adapter.features }); // one for all: each kernel is compiled once
  const run = async (c: Case): Promise<CaseResult> => {
    const about = { name: `${c.op} ${c.name}`, tolerance: c.tolerance };
    try {
      return { ...about, ...(await compareCase(c, backend)) };
    } catch (error) {
      return { ...about, failure: String(error), error: Number.POSITIVE_INFINITY };
    }
  };
  const results: CaseResult[] = [];
  const met = (c: Case) => c.pair || (without.length > 0 && c.op === 'matmul' && !ALWAYS.test(c.name));
  for (const c of cases) if (all || !met(c)) results.push(await run(c));
  backend.dispose();
  adapter.device.destroy();
  return { adapter: adapter.name, features: adapter.features, results };
}

async function runEngine(what: string): Promise<EngineReport> {
  const adapter = await openDevice(navigator.gpu);
  if (!adapter) throw new Error('no adapter');
  const simd = await WebAssembly.compile(await (await fetch('/wasm')).arrayBuffer());
  return checkEngine(
    what,
    urlPack(`${location.origin}/pack/`),
    wasmMaker({ simd }),
    webGpuMaker(adapter.device, { shaders, features: adapter.features }),
  );
}

const runFaults = (): Promise<FaultReport> => checkFaults(() => openDevice(navigator.gpu), shaders);

const api = { runCases, runEngine, runFaults };
export type BrowserApi = typeof api;
Object.assign(window, { api });
