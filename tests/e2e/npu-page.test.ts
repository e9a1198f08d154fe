/** The accelerator's page in a real browser: the last prompt's roofline and timeline, a simulation, and the way there from the chat. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Server, startServer } from '../../cli/start.ts';
import { launchBrowser, noBrowser } from './browser.ts';

const KEY = 'a-key-of-the-tests';

describe.skipIf(noBrowser)('the accelerator’s page', () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-npu-page-'));
  const faults: string[] = [];
  let server: Server;
  let browser: Browser;
  let page: Page;
  const post = (path: string, body: unknown) =>
    fetch(server.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
      body: JSON.stringify(body),
    });

  beforeAll(async () => {
    server = await startServer({ port: 0, npu: 'npu', persist: folder, vars: { API_KEYS: KEY, NPU_WAIT_MS: '60000' } });
    browser = await launchBrowser();
    page = await browser.newPage({ viewport: { width: 1100, height: 900 } });
    page.on('console', (m) => m.type() === 'error' && !m.text().includes('the server responded with a status of') && faults.push(m.text()));
    page.on('pageerror', (e) => faults.push(e.message));
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('wants the key, as the rest of the API does', async () => {
    for (const path of ['report', 'trace', 'device']) expect((await fetch(`${server.url}/v1/npu/${path}`)).status).toBe(401);
    await page.goto(`${server.url}/npu`);
    await page.getByRole('status').getByText('API key').waitFor();
  });

  it('is reached from the chat’s settings, and says when there is nothing yet', async () => {
    await page.goto(server.url);
    await page.evaluate((key) => sessionStorage.setItem('turnstone.key', key), KEY);
    await page.reload();
    await page.getByRole('button', { name: 'Settings', exact: false }).first().click();
    await page.getByRole('link', { name: 'Accelerator' }).click();
    await page.getByRole('status').getByText('No prompt was computed here yet').waitFor();
  });

  it('draws the last prompt: every launch under the roofline, what each queue did, both clocks apart', async () => {
    const prompt = Array.from({ length: 330 }, (_, i) => 300 + ((i * i * 7 + i * 13) % 3000));
    const r = await post('/v1/completions', { model: server.pack.id, prompt, max_tokens: 4 });
    expect(r.headers.get('x-turnstone-route')).toMatch(/^npu; /);
    await r.text(); // it may have begun before the accelerator was done
    await page.getByRole('button', { name: 'Last prompt' }).click();
    const roofline = page.getByRole('img', { name: 'Roofline' });
    await roofline.waitFor();
    expect(await roofline.locator('circle').count()).toBeGreaterThan(4);
    expect(await page.getByRole('img', { name: 'Timeline' }).locator('rect[data-queue]').count()).toBeGreaterThan(100);
    const text = (await page.locator('main').textContent()) ?? '';
    expect(text).toMatch(/of device time for 320 tokens/);
    expect(text).toMatch(/To simulate it took this machine [\d,.]+ ms, another clock/);
    expect(text).not.toMatch(/NaN|Infinity|undefined/);
    const trace = (await (await fetch(`${server.url}/v1/npu/trace`, { headers: { authorization: `Bearer ${KEY}` } })).json()) as {
      traceEvents: unknown[];
    };
    expect(trace.traceEvents.length).toBeGreaterThan(100);
  });

  it('simulates another model, device and prompt', async () => {
    await page.getByLabel('Device').selectOption('edge-npu');
    await page.getByLabel('Prompt').selectOption('128');
    await page.getByRole('button', { name: 'Simulate' }).click();
    await page.getByRole('heading', { name: '128 tokens of smollm2-135m, w4, simulated' }).waitFor();
    expect(await page.getByRole('img', { name: 'Roofline' }).textContent()).toContain('int8');
    const wrong = await post('/v1/npu/simulate', { model: 'gpt-9', device: 'edge-npu', prompt: 8 });
    expect(wrong.status).toBe(400);
    expect(faults).toEqual([]);
  });
});
