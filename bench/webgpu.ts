/**
 * WebGPU on this host: `npx tsx bench/webgpu.ts [pack or model]`. The adapter's own copy bandwidth, then matmuls at decode
 * and prefill shapes against it, then whole decode steps. For real GPUs; a software adapter only shows that it runs.
 */
import { hostGpu } from '../cli/gpu/runtime.ts';
import { readShaders } from '../cli/gpu/shaders.ts';
import { localPack } from '../cli/packs.ts';
import { GREEDY } from '../engine/index.ts';
import { createWebGpu, openDevice, type WebGpuBackend } from '../kernels/webgpu/index.ts';
import { folderPack, nodeHasher } from '../models/node/files.ts';
import { openModel, webGpuMaker } from '../serving/run/open.ts';
import { matmulCase } from '../tests/kernels/cases/matmul.ts';

const found = hostGpu();
if ('why' in found) throw new Error(found.why);
const adapter = await openDevice(found.gpu);
if (!adapter) throw new Error('no adapter');
const { device, features, name } = adapter;
const shaders = readShaders();
console.log(`${new Date().toISOString().slice(0, 10)}  ${name} (${found.runtime})  ${JSON.stringify(features)}\n`);

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1];

/** Milliseconds a run, the submit's own cost spread over many. */
async function time(run: () => void, be: { submit(): Promise<void> }, times: number): Promise<number> {
  run();
  await be.submit();
  const rounds: number[] = [];
  for (let round = 0; round < 5; round++) {
    const began = performance.now();
    for (let i = 0; i < times; i++) run();
    await be.submit();
    rounds.push((performance.now() - began) / times);
  }
  return median(rounds);
}

const COPY = 64 << 20;
const [a, b] = [0, 1].map(() => device.createBuffer({ size: COPY, usage: 0x4 | 0x8 }));
const copy = await time(
  () => {
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(a, 0, b, 0, COPY);
    device.queue.submit([encoder.finish()]);
  },
  { submit: () => device.queue.onSubmittedWorkDone().then(() => undefined) },
  8,
);
const bandwidth = (2 * COPY) / copy / 1e6; // GB/s, read and written
console.log(`copy      ${bandwidth.toFixed(1)} GB/s (read and written)`);

for (const format of ['w4', 'w8'] as const) {
  for (const T of [1, 4, 128]) {
    const c = matmulCase({ format, N: 1536, K: 576, T });
    const be = createWebGpu(device, { shaders, features });
    const prepared = c.prepare(be);
    const ms = await time(() => prepared.run(), be, 16);
    const gbs = (c.bytes as number) / ms / 1e6;
    const gops = (2 * (c.macs as number)) / ms / 1e6;
    console.log(
      `matmul    ${c.name.padEnd(28)} ${ms.toFixed(3)} ms  ${gbs.toFixed(2)} GB/s of weights (${((100 * gbs) / bandwidth).toFixed(0)} % of copy)  ${gops.toFixed(1)} GOP/s`,
    );
    be.dispose();
  }
}

const pack = await localPack(process.argv[2], console.log);
const maker = webGpuMaker(device, { shaders, features });
const rt = await openModel({ source: folderPack(pack.folder), id: pack.id, maker, memoryBytes: 2 ** 30, hasher: nodeHasher });
const { engine, served } = rt;
const be = served.backend as WebGpuBackend;
engine.add({
  ...{ id: 'bench', prompt: [1, 2, 3, 4], maxTokens: 33, stopIds: [], salt: '' },
  sampling: GREEDY,
});
await engine.step();
const before = be.counts();
const steps: number[] = [];
while (engine.busy) {
  const began = performance.now();
  await engine.step();
  steps.push(performance.now() - began);
}
const n = steps.length;
const step = median(steps);
const after = be.counts();
const per = (key: keyof typeof after) => ((after[key] - before[key]) / n).toFixed(0);
const gbs = Number(per('weights')) / step / 1e6;
console.log(
  `decode    ${pack.id}: ${(1000 / step).toFixed(1)} tokens/s, ${gbs.toFixed(2)} GB/s of weights (${((100 * gbs) / bandwidth).toFixed(0)} % of copy)\n` +
    `          a step: ${per('dispatches')} dispatches, ${per('submits')} submit, ${per('weights')} bytes of weights, ` +
    `${per('written')} bytes written, ${per('read')} read back`,
);
process.exit(0);
