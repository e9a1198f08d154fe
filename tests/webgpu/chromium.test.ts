/** The kernel suite and whole models in headless Chromium, on its software adapter or a real one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localPack } from '../../cli/packs.ts';
import type { Features } from '../../kernels/webgpu/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import type { BrowserApi, CasesReport } from './browser-page.ts';
import { launchChromium, openPage } from './chromium.ts';
import type { EngineReport } from './engine-check.ts';
import { engineTests } from './engine-expect.ts';
import { full, required, SLOW, skipWithoutChromium } from './require.ts';

const NONE = 'Chromium finds no adapter';

declare const window: { api: BrowserApi };

/** Once more in a new browser: the GPU's process of one, software as it is, has hung, rarely. */
const retry = 1;

describe.skipIf(skipWithoutChromium)('WebGPU in headless Chromium', { retry }, () => {
  let browser: Browser | undefined;
  let page: Page;
  let adapter: string | null = null;
  let folder = '';

  beforeEach(async () => {
    if (browser) return;
    wasmModules();
    browser = await launchChromium();
    page = await openPage(browser, './browser-page.ts');
    await page.route('**/pack/*', (route) =>
      route.fulfill({ body: readFileSync(join(folder, new URL(route.request().url()).pathname.slice(6))) }),
    );
    await page.route('**/wasm', (route) => route.fulfill({ body: readFileSync('.build/wasm/turnstone-simd.wasm') }));
    adapter = await page.evaluate(() => navigator.gpu?.requestAdapter().then((a) => a && `${a.info.vendor} ${a.info.architecture}`));
    console.log(adapter ? `webgpu in Chromium: ${adapter}` : `webgpu tests skipped: ${NONE}`);
    if (required) expect(adapter).toBeTruthy();
  }, SLOW);
  const close = async () => {
    await browser?.close();
    browser = undefined;
  };
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await close();
  });
  afterAll(close);

  const suite = (without: (keyof Features)[]) => page.evaluate(([w, all]) => window.api.runCases(w, all), [without, full] as const);
  const engine = async (what: string, model?: string): Promise<EngineReport> => {
    folder = (await localPack(model, () => {})).folder;
    return page.evaluate((w) => window.api.runEngine(w), what);
  };
  const failures = (r: CasesReport) => r.results.flatMap((x) => (x.failure ? [x.failure] : []));

  it.for([[[]], [['packed', 'subgroups', 'f16']]] as [(keyof Features)[]][])(
    'passes every case without %s',
    { timeout: SLOW },
    async ([without], { skip }) => {
      if (!adapter) return skip(NONE);
      const report = await suite(without);
      console.log(`${report.results.length} cases, ${JSON.stringify(report.features)}`);
      expect(report.results.length).toBeGreaterThan(200);
      expect(failures(report)).toEqual([]);
    },
  );

  it('explains faults and goes on', { timeout: SLOW }, async ({ skip }) => {
    if (!adapter) return skip(NONE);
    const r = await page.evaluate(() => window.api.runFaults());
    expect(r.lost).toMatch(/^DeviceLostError: The GPU device was lost/);
    expect(r.afterLoss).toMatch(/^DeviceLostError/);
    expect(r.tooLarge).toMatch(/^DeviceMemoryError: .*this device allows/);
    expect(r.refused).toMatch(/^ShaderError: The GPU's compiler refuses the kernel "copy-page": line 1/);
    expect(r.recovered).toBe(true);
  });

  engineTests(engine, () => (adapter ? undefined : NONE));
});
