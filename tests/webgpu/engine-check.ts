/** A model on WebGPU against the same model on wasm. */
import type { Counts, WebGpuBackend } from '../../kernels/webgpu/index.ts';
import type { Maker } from '../../local/open.ts';
import type { PackSource } from '../../models/pack/source.ts';
import { type Agreement, compareRuns, continueOn, generate, open, prompts } from './engine-run.ts';

export interface EngineReport {
  agreement?: Agreement;
  pages?: Awaited<ReturnType<typeof continueOn>>;
  /** Of one decode step of one sequence. */
  step?: Counts & { layers: number };
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
    report.step = await countStep(b.engine.backend as WebGpuBackend, async (n) => void (await generate(b, [[1, 2, 3, 4]], n, `s${n}`)));
    report.step.layers = b.served.config.layers;
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
async function countStep(be: WebGpuBackend, run: (n: number) => Promise<void>): Promise<Counts & { layers: number }> {
  const spent = async (n: number) => {
    const before = be.counts();
    await run(n);
    const after = be.counts();
    return Object.fromEntries(Object.entries(after).map(([k, v]) => [k, v - before[k as keyof Counts]])) as unknown as Counts;
  };
  const [few, more] = [await spent(2), await spent(3)];
  const out = Object.fromEntries(Object.entries(more).map(([k, v]) => [k, v - few[k as keyof Counts]])) as unknown as Counts;
  return { ...out, layers: 0 };
}
