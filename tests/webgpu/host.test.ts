/** Every case of the kernel suite on this host's adapter, each variant that it has. */
import { afterAll, describe, expect, it } from 'vitest';
import { hostGpu } from '../../cli/gpu/runtime.ts';
import { readShaders } from '../../cli/gpu/shaders.ts';
import { localPack } from '../../cli/packs.ts';
import { createWebGpu, type Features, openDevice } from '../../kernels/webgpu/index.ts';
import { folderPack } from '../../models/node/files.ts';
import { wasmMaker, webGpuMaker } from '../../serving/run/open.ts';
import { cases, compareCase } from '../kernels/cases/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import { checkEngine } from './engine-check.ts';
import { engineTests } from './engine-expect.ts';
import { checkFaults } from './faults-check.ts';
import { reason, required } from './require.ts';

const host = hostGpu();
const variants: (keyof Features)[][] = [[], ['packed', 'f16', 'subgroups']];
const adapters = 'gpu' in host ? await Promise.all(variants.map((without) => openDevice(host.gpu, without))) : [];
const why = reason(
  'why' in host
    ? host.why
    : adapters[0]
      ? undefined
      : 'no adapter found (Debian: apt-get install -t bookworm-backports mesa-vulkan-drivers)',
);
const shaders = readShaders();

it.runIf(required)('finds an adapter', () => expect(adapters[0]).toBeTruthy());

adapters.forEach((adapter, v) => {
  if (!adapter) return;
  const name =
    Object.entries(adapter.features)
      .filter(([, on]) => on)
      .map(([f]) => f)
      .join(', ') || 'plain';
  console.log(`webgpu on this host: ${adapter.name}: ${name}`);
  const last = variants[v - 1] && adapters[v - 1]?.features;
  if (JSON.stringify(last) === JSON.stringify(adapter.features)) return; // it has none of them: that was tested
  describe(`${adapter.name}, ${name}`, () => {
    if (v > 0) afterAll(() => adapter.device.destroy()); // the first goes on below
    it.each(cases.map((c) => [`${c.op} ${c.name}`, c] as const))('%s', async (_, c) => {
      const backend = createWebGpu(adapter.device, { shaders, features: adapter.features });
      const { failure } = await compareCase(c, backend);
      backend.dispose();
      expect(failure).toBeNull();
    });
  });
});

it.skipIf(why)('says what went wrong, and a new device goes on', async () => {
  if (!('gpu' in host)) throw new Error(host.why);
  const r = await checkFaults(() => openDevice(host.gpu), shaders);
  expect(r.lost).toMatch(/^DeviceLostError: The GPU device was lost/);
  expect(r.afterLoss).toMatch(/^DeviceLostError/);
  expect(r.tooLarge).toMatch(/^DeviceMemoryError: .*this device allows/);
  expect(r.refused).toMatch(/^ShaderError: The GPU's compiler refuses the kernel "copy-page": line 1/);
  expect(r.recovered).toBe(true);
});

describe.skipIf(why)('whole models on this host', () => {
  engineTests(
    async (what, model) => {
      const adapter = adapters[0];
      if (!adapter) throw new Error('no adapter');
      const { device, features } = adapter;
      const source = folderPack((await localPack(model, () => {})).folder);
      return checkEngine(what, source, wasmMaker(wasmModules()), webGpuMaker(device, { shaders, features }));
    },
    () => undefined,
  );
  afterAll(() => adapters[0]?.device.destroy());
});
