/** The chat page of a server with several models: one is chosen, another is brought from a hub, with progress, and cancelled. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { bytesOf, knownModels } from '../../cli/hub/known.ts';
import { Pulls } from '../../cli/hub/pulls.ts';
import { ModelStore } from '../../cli/hub/store.ts';
import { type Server, startServer } from '../../cli/start.ts';
import { type HubServer, hubServer } from '../hub/server.ts';
import { launchBrowser, noBrowser } from './browser.ts';
import { ask, openPage, proses, ready, settled } from './page-parts.ts';
import { missing } from './server.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const BASE = join(ROOT, 'models/pebble/base');
const files = (path: string) => Object.fromEntries(readdirSync(path).map((f) => [f, new Uint8Array(readFileSync(join(path, f)))]));

describe.skipIf(noBrowser ?? missing)('the page of a server with several models', () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-page-models-'));
  let hub: HubServer;
  let server: Server;
  let browser: Browser;
  let context: BrowserContext | undefined;
  let faults: string[] = [];
  beforeAll(async () => {
    hub = await hubServer({ 'org/pebble': { files: files(join(ROOT, 'models/pebble/hf')) } });
    const store = new ModelStore(join(folder, 'store'));
    const stored = knownModels('', store);
    const base = { id: 'base', path: BASE, bytes: bytesOf(BASE), created: 1_700_000_000, about: 'goes on with stories' };
    server = await startServer({
      ...{ port: 0, persist: join(folder, 'state'), vars: {}, embedder: {} },
      models: { known: () => [base, ...stored()], allMb: 400, keepAliveMs: 60_000, pulls: new Pulls({ endpoint: hub.url, store }) },
    });
    await server.embedder?.start();
    browser = await launchBrowser();
  }, 180_000);
  afterEach(async () => {
    await context?.close();
    expect(faults.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    await hub?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function open(options = {}): Promise<Page> {
    const opened = await openPage(browser, server.url, { temperature: 0, maxTokens: 24 }, options);
    ({ context, faults } = opened);
    opened.page.setDefaultTimeout(20_000);
    await ready(opened.page);
    return opened.page;
  }
  const shot = async (page: Page, name: string) => {
    if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `${name}.png`) });
  };
  const picker = (page: Page) => page.getByRole('banner').getByLabel('Model');

  it('shows them with size and state, without the encoder, and asks the one that is chosen', async () => {
    const page = await open();
    const options = await picker(page).locator('option').allTextContents();
    expect(options).toEqual([expect.stringMatching(/^pebble \(1\.\d MB\)$/), expect.stringMatching(/^base \(\d.* MB(, not loaded)?\)$/)]);
    await ask(page, 'Who are you?');
    await settled(page, 1);
    await picker(page).selectOption('base');
    await ask(page, 'Who are you?');
    await settled(page, 2);
    await expect.poll(async () => (await picker(page).locator('option').allTextContents())[1]).not.toContain('not loaded');
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByText('goes on with stories').waitFor();
    await shot(page, 'picker');
    await page.reload();
    await ready(page);
    expect(await picker(page).inputValue()).toBe('base');
  });

  it('brings a model with progress; a cancelled one is gone on with', async () => {
    const page = await open();
    hub.faults.slow = 30_000; // longer than anything that is looked at meanwhile
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByText('Get more models').click();
    expect(await page.getByRole('button', { name: 'Get smollm2', exact: true }).isVisible()).toBe(true);
    await page.getByLabel('Another one of the hub').fill('hf:org/pebble');
    await page.getByRole('button', { name: 'Get it', exact: true }).last().click();
    await page.getByRole('progressbar', { name: 'hf:org/pebble is being brought' }).waitFor();
    await page.getByText(/of \d.* MB$/).waitFor();
    await shot(page, 'pulling');
    await page.evaluate(AXE);
    const { violations } = (await page.evaluate('axe.run(document, { resultTypes: ["violations"] })')) as { violations: { id: string }[] };
    expect(violations.map((v) => v.id)).toEqual([]);
    await page.getByRole('button', { name: 'Cancel hf:org/pebble' }).click();
    await page.getByRole('button', { name: 'Get hf:org/pebble' }).waitFor();
    expect(await picker(page).locator('option').count()).toBe(2);
    hub.faults.slow = 0;
    await page.getByRole('button', { name: 'Get hf:org/pebble' }).click();
    await expect.poll(() => picker(page).locator('option').count()).toBe(3);
    await page.getByRole('button', { name: 'Close settings' }).click();
    await picker(page).selectOption('hf:org/pebble');
    await ask(page, 'Who are you?');
    await settled(page, 1);
    expect((await proses(page))[0].length).toBeGreaterThan(0);
    await shot(page, 'brought');
  });

  it('says why one cannot be brought, and fits a phone', async () => {
    const page = await open({ viewport: { width: 360, height: 740 } });
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByText('Get more models').click();
    await page.getByLabel('Another one of the hub').fill('hf:org/nothing');
    await page.getByRole('button', { name: 'Get it', exact: true }).last().click();
    await page.getByText(/shows no repository org\/nothing/).waitFor();
    await shot(page, 'refused-360');
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  });

  it('lets no page of another origin bring one', async () => {
    const ask = (origin: string) =>
      fetch(`${server.url}/admin/models/pull`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin },
        body: JSON.stringify({ name: 'hf:org/other' }),
      });
    expect((await ask('https://evil.example')).status).toBe(404);
    expect(hub.log.some(({ path }) => path.includes('org/other'))).toBe(false);
    const page = await fetch(`${server.url}/admin/models/pull`, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: '{}' });
    expect(page.status).toBe(415);
  });
});
