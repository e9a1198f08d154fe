/** What a whole model on WebGPU must show, in a browser and on a host. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { shared } from '../shared.ts';
import type { EngineReport } from './engine-check.ts';
import { full, SLOW } from './require.ts';
import { GAP, LOGPROB, MEAN } from './tolerance.ts';

const story = shared('models/stories260K/stories260K-f32.gguf');
const told = shared('models/stories260K/greedy-200.txt');

/** Registers the tests. `run` checks one thing (engine-check.ts) with the shipped model or another; `missing` says why it cannot, if so. */
export function engineTests(run: (what: string, model?: string) => Promise<EngineReport>, missing: () => string | undefined): void {
  const test = (name: string, slow: boolean, check: () => Promise<void>): void =>
    it(name, { timeout: SLOW }, async ({ skip }) => {
      const why = missing() ?? (slow && !full ? 'minutes on a software adapter; WEBGPU_FULL=1 runs it' : undefined);
      if (why) return skip(why);
      await check();
    });

  test('decodes with the least there is: a dispatch an op, one submit, each weight read once, 16 bytes back', false, async () => {
    const { step } = await run('step');
    console.log(`decode step: ${JSON.stringify(step)}`);
    if (!step) throw new Error('nothing was counted');
    expect(step.submits).toBe(1);
    expect(step.dispatches).toBe(step.contract);
    expect(step.dispatches).toBe(9 * step.layers + 4); // embed, last norm, head, top-k
    expect(step.weights).toBe(step.matrices);
    expect(step.writes).toBe(7); // six of the batch, temperature; parameters are there from the step before
    expect(step.written).toBe(step.batchBytes); // a word each, and the block table
    expect(step.read).toBe(16); // id, value, max, sum
  });

  test('goes on from pages that wasm computed', false, async () => {
    const { pages } = await run('pages');
    console.log(`on pages of wasm: ${JSON.stringify(pages)}`);
    expect(pages?.imported).toBeGreaterThanOrEqual(48);
    expect(pages?.cached).toBe(pages?.imported);
    expect(pages?.agreement.error).toBeLessThan(LOGPROB);
    expect(pages?.agreement.mean).toBeLessThan(MEAN);
    for (const { gap } of pages?.agreement.gaps ?? []) expect(gap).toBeLessThan(GAP);
  });

  test('greedy: 20 prompts of 64 tokens agree with wasm, or part where two tokens are as good', true, async () => {
    const { agreement } = await run('greedy');
    console.log(`greedy against wasm: ${JSON.stringify(agreement)}`);
    expect(agreement?.prompts).toBe(20);
    expect(agreement?.error).toBeLessThan(LOGPROB);
    expect(agreement?.mean).toBeLessThan(MEAN);
    for (const { gap } of agreement?.gaps ?? []) expect(gap).toBeLessThan(GAP);
  });

  if (story.missing || told.missing) return void it.skip(`stories260K: ${story.missing ? story.why : told.why}`);
  test('stories260K tells its story for 200 steps', true, async () => {
    const { texts } = await run('story', story.path);
    expect(texts?.gpu).toBe(texts?.wasm);
    expect(texts?.gpu.trim()).toBe(readFileSync(told.path, 'utf8').trim());
  });
}
