/** The kernel suite and whole models in headless Chromium, on its software adapter or a real one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { localPack } from '../../cli/packs.ts';
import type { Features } from '../../kernels/webgpu/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import { shared } from '../shared.ts';
import type { BrowserApi, CasesReport } from './browser-page.ts';
import { launchChromium, openPage } from './chromium.ts';
import type { EngineReport } from './engine-check.ts';
import { full, required, skipWithoutChromium } from './require.ts';

/** Stated tolerances of webgpu-1: how far a log-probability may be from wasm's, and how near two tokens must be for the other to win. */
const LOGPROB = 0.25;
const GAP = 0.05;
const SLOW = 900_000; // ms: a software adapter on a busy machine

declare const window: { api: BrowserApi };

const story = shared('models/stories260K/stories260K-f32.gguf');
const told = shared('models/stories260K/greedy-200.txt');

describe.skipIf(skipWithoutChromium)('WebGPU in headless Chromium', () => {
  let browser: Browser;
  let page: Page;
  let adapter: string | null = null;
  let folder = '';

  beforeAll(async () => {
    wasmModules();
    browser = await launchChromium();
    page = await openPage(browser, './browser-page.ts');
    await page.route('**/pack/*', (route) =>
      route.fulfill({ body: readFileSync(join(folder, new URL(route.request().url()).pathname.slice(6))) }),
    );
    await page.route('**/wasm', (route) => route.fulfill({ body: readFileSync('.build/wasm/turnstone-simd.wasm') }));
    adapter = await page.evaluate(() => navigator.gpu?.requestAdapter().then((a) => a && `${a.info.vendor} ${a.info.architecture}`));
    console.log(adapter ? `webgpu in Chromium: ${adapter}` : 'webgpu tests skipped: Chromium finds no adapter');
    if (required) expect(adapter).toBeTruthy();
  }, SLOW);
  afterAll(() => browser?.close());

  const suite = (without: (keyof Features)[]) => page.evaluate((w) => window.api.runCases(w, []), without);
  const engine = async (what: string, model?: string): Promise<EngineReport> => {
    folder = (await localPack(model, () => {})).folder;
    return page.evaluate((w) => window.api.runEngine(w), what);
  };
  const failures = (r: CasesReport) => r.results.flatMap((x) => (x.failure ? [x.failure] : []));

  it.for([[[]], [['packed', 'subgroups', 'f16']]] as [(keyof Features)[]][])(
    'passes every case without %s',
    { timeout: SLOW },
    async ([without], { skip }) => {
      if (!adapter) return skip('no adapter');
      const report = await suite(without);
      console.log(`${report.results.length} cases, ${JSON.stringify(report.features)}`);
      expect(report.results.length).toBeGreaterThan(100);
      expect(failures(report)).toEqual([]);
    },
  );

  it('explains faults and goes on', { timeout: SLOW }, async ({ skip }) => {
    if (!adapter) return skip('no adapter');
    const r = await page.evaluate(() => window.api.runFaults());
    expect(r.lost).toMatch(/^DeviceLostError: The GPU device was lost/);
    expect(r.afterLoss).toMatch(/^DeviceLostError/);
    expect(r.tooLarge).toMatch(/^DeviceMemoryError: .*this device allows/);
    expect(r.refused).toMatch(/^ShaderError: The GPU's compiler refuses the kernel "copy-page": line 1/);
    expect(r.recovered).toBe(true);
  });

  it('decodes with the least there is: a dispatch an op, one submit, each weight read once, 16 bytes back', { timeout: SLOW }, async ({
    skip,
  }) => {
    if (!adapter) return skip('no adapter');
    const { step } = await engine('step');
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

  it('goes on from pages that wasm computed', { timeout: SLOW }, async ({ skip }) => {
    if (!adapter) return skip('no adapter');
    const { pages } = await engine('pages');
    expect(pages?.imported).toBeGreaterThanOrEqual(48);
    expect(pages?.cached).toBe(pages?.imported);
    expect(pages?.agreement.error).toBeLessThan(LOGPROB);
    for (const { gap } of pages?.agreement.gaps ?? []) expect(gap).toBeLessThan(GAP);
  });

  it('greedy: 20 prompts of 64 tokens agree with wasm, or part where two tokens are as good', { timeout: SLOW }, async ({ skip }) => {
    if (!adapter) return skip('no adapter');
    if (!full) return skip('minutes on a software adapter; WEBGPU_FULL=1 runs it');
    const { agreement } = await engine('greedy');
    console.log(`greedy against wasm: ${JSON.stringify(agreement)}`);
    expect(agreement?.prompts).toBe(20);
    expect(agreement?.error).toBeLessThan(LOGPROB);
    for (const { gap } of agreement?.gaps ?? []) expect(gap).toBeLessThan(GAP);
  });

  it.skipIf(story.missing || told.missing)('stories260K tells its story for 200 steps', { timeout: SLOW }, async ({ skip }) => {
    if (!adapter) return skip('no adapter');
    if (!full) return skip('minutes on a software adapter; WEBGPU_FULL=1 runs it');
    const { texts } = await engine('story', story.path);
    expect(texts?.gpu).toBe(texts?.wasm);
    expect(texts?.gpu.trim()).toBe(readFileSync(told.path, 'utf8').trim());
  });
});
