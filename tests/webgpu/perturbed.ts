/**
 * How far two runs of the same arithmetic part when one rounds differently: wasm against wasm, the second with each norm gain
 * off by at most a relative EPS. What a whole model's tolerance is measured against.
 *
 *   npx tsx tests/webgpu/perturbed.ts [EPS ...]
 */
import { localPack } from '../../cli/packs.ts';
import type { ModelWeights } from '../../engine/index.ts';
import { folderPack } from '../../models/node/files.ts';
import { wasmMaker } from '../../serving/run/open.ts';
import { wasmModules } from '../kernels/modules.ts';
import { compareRuns, generate, open, prompts } from './engine-run.ts';

const { folder } = await localPack(undefined, () => {});
const fresh = () => open(folderPack(folder), 'pebble', wasmMaker(wasmModules()));

/** Multiplies each norm gain by 1 + eps·u, u uniform in [-1, 1). */
async function perturb({ engine, served }: Awaited<ReturnType<typeof fresh>>, eps: number): Promise<void> {
  const weights = served.weights as ModelWeights;
  for (const gains of [weights.norm, ...weights.layers.flatMap((l) => [l.attnNorm, l.ffnNorm])]) {
    const f = new Float32Array((await engine.backend.read(gains, 0, engine.config.hidden * 4)).slice().buffer);
    f.forEach((x, i) => {
      f[i] = x * (1 + eps * (Math.random() * 2 - 1));
    });
    engine.backend.write(gains, new Uint8Array(f.buffer));
  }
}

const rt = await fresh();
const ids = prompts(rt);
const want = await generate(rt, ids, 64, 'as it is');
for (const eps of process.argv.length > 2 ? process.argv.slice(2).map(Number) : [1e-7, 3e-7, 1e-6]) {
  const other = await fresh();
  await perturb(other, eps);
  const { same, error, mean, gaps } = compareRuns(want, await generate(other, ids, 64, 'perturbed'));
  const gap = Math.max(0, ...gaps.map((g) => g.gap));
  console.log(
    `gains off by ${eps}: ${same} of ${ids.length} the same, log-probabilities within ${error.toFixed(2)}, ${mean.toFixed(3)} in the mean, gaps within ${gap.toFixed(3)}`,
  );
}
