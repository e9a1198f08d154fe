/**
 * The kernel suite under Deno's own WebGPU, for who wants to compare the two runtimes:
 *
 *   deno run -A --no-check --node-modules-dir=manual tests/webgpu/deno-cases.ts
 */
import { readShaders } from '../../cli/gpu/shaders.ts';
import { createWebGpu, openDevice } from '../../kernels/webgpu/index.ts';
import { cases, compareCase } from '../kernels/cases/index.ts';

const adapter = await openDevice((globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu);
if (!adapter) throw new Error('no adapter');
const { device, features, name } = adapter;
console.log(`${name} ${JSON.stringify(features)}`);
const shaders = readShaders();
let bad = 0;
for (const c of cases) {
  const backend = createWebGpu(device, { shaders, features });
  const { failure } = await compareCase(c, backend);
  backend.dispose();
  if (!failure) continue;
  bad++;
  console.log(failure);
}
console.log(`${cases.length - bad} of ${cases.length} cases pass`);
process.exit(bad > 0 ? 1 : 0);
