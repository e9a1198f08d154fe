/**
 * Host time of a prefill on the simulated accelerator beside the replica's own kernels, both in this process, alternating;
 * and where it goes. Every prompt is new to the device, so programs of new page tables are compiled as they would be.
 *
 *   npx tsx bench/npu/host.ts [device] [tokens] [rounds]
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '@noble/hashes/sha2.js';
import { Prefiller } from '../../accelerator/prefiller.ts';
import { build, ROOT } from '../../cli/build.ts';
import { localPack } from '../../cli/packs.ts';
import type { Backend } from '../../engine/backend.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { folderPack } from '../../models/node/files.ts';
import { loadWeights, openPack } from '../../models/pack/load.ts';
import { createNpu, type Npu } from '../../simulator/backend.ts';
import { device } from '../../simulator/device/index.ts';
import { start, useClock } from '../clock.ts';
import { randomIds } from '../engine/runner.ts';
import { describeMachine, machine } from '../machine.ts';
import { median } from '../stats.ts';

const [name = 'maia-200', count = '1500', rounds = '5'] = process.argv.slice(2);
useClock('cpu');
await build(() => {});
const pack = await localPack(process.env.MODEL, () => {});
const wasm = (file: string) => new WebAssembly.Module(readFileSync(join(ROOT, '.build/wasm', file)));
const modules = (of: string) => ({ relaxed: wasm(`${of}-relaxed.wasm`), simd: wasm(`${of}-simd.wasm`) });
const source = folderPack(pack.folder);
const { manifest } = await openPack(source);

async function prefiller(backend: Backend): Promise<Prefiller> {
  const weights = await loadWeights(source, manifest, backend);
  const context = manifest.config.context;
  return new Prefiller({
    ...{ backend, config: manifest.config, weights, kv: 'i8', pack: 'bench', hash: sha256, chunk: 256 },
    ...{ context, pages: Math.ceil(context / 16) + 8 },
  });
}

const npu: Npu = createNpu(device(name), { modules: modules('turnstone-npu'), checkRaces: false });
const both = { npu: await prefiller(npu), local: await prefiller(createWasm({ modules: modules('turnstone'), memoryBytes: 256 << 20 })) };
const times: Record<keyof typeof both, number[]> = { npu: [], local: [] };
const tokens = Number(count);
for (let r = -1; r < Number(rounds); r++) {
  const ids = randomIds(tokens, manifest.config.vocab, r + 9);
  const said: string[] = [];
  for (const who of r % 2 === 0 ? (['npu', 'local'] as const) : (['local', 'npu'] as const)) {
    const took = start();
    let last = '';
    for await (const page of both[who].run(ids, 0, `round ${r}`)) last = Buffer.from(sha256(page.bytes)).toString('hex');
    said.push(last);
    if (r >= 0) times[who].push(took());
  }
  if (said[0] !== said[1]) throw new Error(`the last page of ${tokens} tokens is not the same`);
}
const rate = (ms: number) => `${ms.toFixed(0)} ms, ${((1000 * tokens) / ms).toFixed(0)} tokens/s`;
console.log(describeMachine(machine()));
console.log(`${pack.id}, ${tokens} tokens, processor time, medians of ${rounds} alternating runs`);
console.log(`  the replica's kernels   ${rate(median(times.local))}`);
console.log(`  ${name}, simulated   ${rate(median(times.npu))}   ${(median(times.npu) / median(times.local)).toFixed(2)} times`);
