/** Adapters beside the base: eight sequences that decode together over four adapters, and the same eight on the base alone. In Node, one thread. */

import { sha256 } from '@noble/hashes/sha2.js';
import { wasmModules } from '../../cli/wasm.ts';
import {
  type AdapterPiece,
  adapterBytes,
  allocWeights,
  Engine,
  formatsOf,
  GREEDY,
  kvShape,
  type ModelConfig,
  pieceBytes,
  planMemory,
  tensorList,
} from '../../engine/index.ts';
import { allocLogits } from '../../engine/logits.ts';
import { allocRunner } from '../../engine/runner.ts';
import { countWasm, createWasm } from '../../kernels/wasm/index.ts';
import { folderPack, nodeHasher } from '../../models/node/files.ts';
import { loadWeights, openPack } from '../../models/pack/load.ts';
import { formatsIn } from '../../models/pack/manifest.ts';
import { start } from '../clock.ts';
import { randomIds } from '../engine/runner.ts';
import { packOf, randomModel } from '../model.ts';
import type { Bench } from '../report.ts';
import { alternate } from '../stats.ts';

const ADAPTERS = 4;
const ROWS = 8;
const RANK = 8;
const PROMPT = 32;
const STEPS = 32;
/** Of the base's rate, where every matrix of every layer has an adapter, and where queries and values have one, as most have. */
const WANTED = 0.8;
const TARGETS = { 'q and v': ['qkv'], 'every matrix': ['qkv', 'o', 'gateUp', 'down'] } as const;
type Targets = keyof typeof TARGETS;

/** Random factors of the matrices in `targets`; of qkv the keys' are left out where that is the only one. */
function pieces(c: ModelConfig, targets: Targets): AdapterPiece[] {
  const wanted: readonly string[] = TARGETS[targets];
  return tensorList(c).flatMap(({ kind, layer, shape: [, K], parts }) => {
    let row = 0;
    const all = parts.map((N) => ({ layer, matrix: kind as AdapterPiece['matrix'], row: (row += N) - N, rank: RANK, N, K: K as number }));
    if (layer < 0 || !wanted.includes(kind)) return [];
    return targets === 'q and v' ? all.filter((_, i) => i !== 1) : all;
  });
}

/** An engine of a pack with four adapters of each kind loaded, as `targets.n`. */
async function open(folder: string): Promise<Engine> {
  const source = folderPack(folder);
  const { manifest, digest } = await openPack(source);
  const { config } = manifest;
  const count = countWasm();
  const { weights: counted } = allocWeights(count, config, formatsIn(manifest.tensors));
  const kinds = Object.keys(TARGETS) as Targets[];
  const bytes = ADAPTERS * kinds.reduce((n, k) => n + adapterBytes(pieces(config, k)), 0);
  const plan = planMemory({
    ...{ config, formats: formatsOf(counted), kv: 'i8', weightBytes: 0, memoryBytes: 2 ** 31, jsBytes: 0, measure: () => 0 },
    ...{ context: 256, maxSequences: ROWS, pages: ROWS * 16, adapterBytes: bytes },
  });
  allocRunner(count, config, formatsOf(counted), plan);
  count.kvPool(kvShape(config, 'i8'), plan.pages);
  allocLogits(count, plan.maxRows, config.vocab);
  const backend = createWasm({ modules: await wasmModules(), memoryBytes: count.used });
  const weights = await loadWeights(source, manifest, backend, { hasher: nodeHasher });
  const engine = new Engine({ backend, config, weights, plan, hash: sha256, pack: digest, rowCost: Number.POSITIVE_INFINITY });
  for (const kind of kinds) {
    const list = pieces(config, kind);
    for (let n = 0; n < ADAPTERS; n++) {
      let x = n + 1;
      const draw = () => (x = (x * 48271) % 2147483647) / 2147483647 - 0.5;
      const read = (i: number) => new Uint8Array(Float32Array.from({ length: pieceBytes(list[i]) / 4 }, () => 0.1 * draw()).buffer);
      await engine.adapters?.load(`${kind}.${n}`, list, read);
    }
  }
  return engine;
}

/** ms a step of `ROWS` decoding sequences; sequence r has the adapter that is given for it. */
async function decode(engine: Engine, adapterOf: (r: number) => string | undefined): Promise<number> {
  for (let r = 0; r < ROWS; r++) {
    engine.add({
      ...{ id: `r${r}`, prompt: randomIds(PROMPT, engine.config.vocab, r + 1), adapter: adapterOf(r), maxTokens: STEPS + 8, stopIds: [] },
      ...{ sampling: GREEDY, salt: 'bench' },
    });
  }
  for (let begun = 0; begun < ROWS; ) for (const e of await engine.step()) begun += Number(e.cachedTokens !== undefined);
  const clock = start();
  for (let i = 0; i < STEPS; i++) await engine.step();
  const ms = clock();
  engine.reset();
  return ms / STEPS;
}

export async function adapters(bench: Bench): Promise<void> {
  const smollm = await randomModel('smollm2-135m', 'Q4_0', bench.progress);
  for (const [name, path, wanted] of [
    ['SmolLM2 shape', smollm, true],
    ['pebble', undefined, false],
  ] as const) {
    const engine = await open((await packOf(path, bench.progress)).folder);
    const contenders = {
      base: () => decode(engine, () => undefined),
      'one adapter, q and v': () => decode(engine, () => 'q and v.0'),
      'q and v': () => decode(engine, (r) => `q and v.${r % ADAPTERS}`),
      'every matrix': () => decode(engine, (r) => `every matrix.${r % ADAPTERS}`),
    };
    const ms = await alternate(contenders, bench.rounds, { warm: true, onRun: (what) => bench.progress(`${name}, ${what}`) });
    for (const [what, s] of Object.entries(ms)) {
      const ratio = ms.base.median / s.median;
      const value = { median: (1000 * ROWS) / s.median, low: (1000 * ROWS) / s.high, high: (1000 * ROWS) / s.low, runs: s.runs };
      const over =
        what === 'base'
          ? 'eight sequences'
          : `${what.startsWith('one') ? '' : `over ${ADAPTERS} adapters, `}rank ${RANK}; ${ratio.toFixed(2)} of the base`;
      bench.figure({ name: `${name}: ${what}`, unit: 'tokens/s', value, note: over });
      if (wanted && what !== 'base' && !what.startsWith('one'))
        bench.target({
          name: `${name}: eight sequences over four adapters of ${what}, of the base's rate`,
          got: ratio,
          want: WANTED,
          unit: '',
        });
    }
    engine.backend.dispose();
  }
}
