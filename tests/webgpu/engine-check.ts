/** A model on WebGPU against the same model on wasm. */

import { weightBytes } from '../../engine/formats.ts';
import { formatsOf, GREEDY, type KvPool, layersOf, type ModelWeights } from '../../engine/index.ts';
import { allocScratch, forward } from '../../engine/model.ts';
import { type Counts, countWebGpu, type WebGpuBackend } from '../../kernels/webgpu/index.ts';
import type { PackSource } from '../../models/pack/source.ts';
import type { Maker } from '../../serving/run/open.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import { type Agreement, compareRuns, continueOn, generate, open, prompts } from './engine-run.ts';

export interface EngineReport {
  agreement?: Agreement;
  pages?: Awaited<ReturnType<typeof continueOn>>;
  /** Of one decode step of one sequence. */
  step?: Counts & { layers: number; contract: number; matrices: number; batchBytes: number };
  texts?: { gpu: string; wasm: string };
}

/** `greedy`, `pages`, `step` or `story`. */
export async function checkEngine(what: string, source: PackSource, wasm: Maker, gpu: Maker): Promise<EngineReport> {
  const kv = what === 'story' ? 'f32' : 'i8'; // the story's text was made without rounding keys and values
  const a = await open(source, 'model', wasm, kv);
  const b = await open(source, 'model', gpu, kv);
  const report: EngineReport = {};
  if (what === 'greedy') {
    const list = prompts(a);
    report.agreement = compareRuns(await generate(a, list, 64, 'a'), await generate(b, list, 64, 'b'));
  } else if (what === 'pages') {
    report.pages = await continueOn(a, b);
  } else if (what === 'step') {
    const step = await countStep(
      b.engine.backend as WebGpuBackend,
      async (n) => void (await generate(b, [[n, 12, 13, 14]], n, `s${n}`, GREEDY)),
    );
    report.step = { ...step, ...least(a), batchBytes: 4 * (6 + b.engine.plan.maxBlocks) };
  } else {
    const start = [a.served.tokenizer.bos ?? 1];
    const [x] = await generate(a, [start], 200, 'a');
    const [y] = await generate(b, [start], 200, 'b');
    const text = (ids: number[]) => a.served.tokenizer.decode(ids);
    report.texts = { wasm: text(x.tokens.map((t) => t.id)), gpu: text(y.tokens.map((t) => t.id)) };
    report.agreement = compareRuns([x], [y]);
  }
  b.engine.backend.dispose();
  return report;
}

/** What one more generated token costs: the difference of two runs. */
async function countStep(be: WebGpuBackend, run: (n: number) => Promise<void>): Promise<Counts> {
  const spent = async (n: number) => {
    const before = be.counts();
    await run(n);
    const after = be.counts();
    return Object.fromEntries(Object.entries(after).map(([k, v]) => [k, v - before[k as keyof Counts]])) as unknown as Counts;
  };
  await run(4); // tables grow when they are first needed
  const [few, more] = [await spent(2), await spent(3)];
  return Object.fromEntries(Object.entries(more).map(([k, v]) => [k, v - few[k as keyof Counts]])) as unknown as Counts;
}

/** The least a decode step can take: a dispatch for each op that the engine asks for, and each weight matrix read once. */
function least({ served, engine }: Runtime): { layers: number; contract: number; matrices: number } {
  const weights = served.weights as ModelWeights;
  const { layers, embed, head } = weights;
  const all = [head, ...layers.flatMap((l) => [l.qkv, l.o, l.gateUp, l.down].filter((w) => w !== undefined))];
  const row = weightBytes(embed.format, embed.N, embed.K) / embed.N;
  const matrices = all.reduce((n, w) => n + weightBytes(w.format, w.N, w.K), row);
  let contract = 1; // the top-k behind the model
  const counting = new Proxy(engine.backend, {
    get: (_, op) => () => {
      if (op !== 'write') contract++;
    },
  });
  const one = { label: 'x', bytes: 0 };
  const batch = { ...{ T: 1, S: 1, R: 1, maxBlocks: 1 }, ids: one, pos: one, slot: one, seqOf: one, blocks: one, rows: one };
  const scratch = allocScratch(countWebGpu(), served.config, formatsOf(weights), 1, 1);
  const { config } = served;
  forward(counting, { config, layers: layersOf(config), weights, first: 0, tables: [one], kv: engine.kv as KvPool }, scratch, batch);
  return { layers: layers.length, contract, matrices };
}
