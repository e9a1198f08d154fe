/** The page's switch "run on this device" in headless Chromium, against the real server: WebGPU, wasm, offline, removal, damage. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import type { Server } from '../../cli/start.ts';
import { launchChromium } from '../webgpu/chromium.ts';
import { skipWithoutChromium } from '../webgpu/require.ts';
import { missing, startTestServer } from './server.ts';

const START = 300_000; // ms: builds included
const SLOW = 240_000; // a software adapter compiles every kernel on one core

describe.skipIf(skipWithoutChromium ?? missing)('run on this device', () => {
  let server: Server;
  let browser: Browser;

  beforeAll(async () => {
    server = await startTestServer({ PUBLIC_PACKS: '1' });
    browser = await launchChromium();
  }, START);
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
  }, START);

  async function open(prefer?: 'wasm'): Promise<{ context: BrowserContext; page: Page; faults: string[] }> {
    const context = await browser.newContext();
    const faults: string[] = [];
    await context.addInitScript(`localStorage['turnstone.settings.1'] ??= '{"maxTokens":12,"temperature":0}'`);
    if (prefer) await context.addInitScript(`localStorage['turnstone.device.prefer'] = '${prefer}'`);
    const page = await context.newPage();
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (m) => m.type() === 'error' && m.text().includes('Content Security Policy') && faults.push(m.text()));
    await page.goto(server.url);
    return { context, page, faults };
  }

  async function turnOn(page: Page): Promise<string> {
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByRole('switch', { name: 'Run on this device' }).check();
    await page.locator('.device small', { hasText: 'Nothing leaves this device' }).waitFor({ timeout: SLOW });
    const words = (await page.locator('.device small').textContent()) ?? '';
    return words;
  }

  async function ask(page: Page, text: string, count: number): Promise<string> {
    const box = page.getByRole('textbox', { name: 'Message', exact: true });
    await box.fill(text);
    await box.press('Enter');
    const answer = page.locator('.answer[data-live=false]').nth(count - 1);
    await answer.waitFor({ timeout: SLOW });
    return (await answer.locator('.prose').textContent()) ?? '';
  }

  it('chats on WebGPU, reloads without a network, and chats again', { timeout: 2 * SLOW }, async () => {
    const { context, page, faults } = await open();
    const words = await turnOn(page);
    console.log(`device: ${words}`);
    expect(words).toContain('WebGPU on ');
    const folder = join(ROOT, '.build/webgpu');
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: join(folder, 'device-settings.png') });
    await page.keyboard.press('Escape');
    expect(await ask(page, 'Write a short story with the words bird, stone and boat.', 1)).toMatch(/\w{3}/);
    expect(await page.getByRole('list', { name: 'Figures' }).first().textContent()).toContain('device');
    await page.screenshot({ path: join(folder, 'device-chat.png') });

    await expect.poll(() => page.evaluate(`caches.open('turnstone-page').then((c) => c.keys()).then((k) => k.length)`)).toBeGreaterThan(3);
    await context.setOffline(true);
    await page.reload();
    await page.locator('.server[data-state=ready]').waitFor({ timeout: SLOW });
    expect(await ask(page, 'What is 12 + 13?', 2)).not.toBe('');
    await page.screenshot({ path: join(folder, 'device-offline.png') });
    await context.setOffline(false);
    expect(faults).toEqual([]);
    await context.close();
  });

  it('runs on wasm where there is no GPU, mends a damaged file, and is removed', { timeout: 2 * SLOW }, async () => {
    const { context, page, faults } = await open('wasm');
    expect(await turnOn(page)).toContain('WebAssembly');
    await page.keyboard.press('Escape');
    const first = await ask(page, 'What is 21 + 34?', 1);

    await page.evaluate(DAMAGE);
    await page.reload();
    await page.locator('.server[data-state=ready]').waitFor({ timeout: SLOW });
    await page.getByRole('button', { name: 'New chat' }).click();
    expect(await ask(page, 'What is 21 + 34?', 1)).toBe(first);

    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByRole('button', { name: 'Remove the model from this device' }).click();
    await page.locator('.device small', { hasText: 'Off' }).waitFor();
    expect(
      await page.evaluate(
        `navigator.storage.getDirectory().then((r) => r.getDirectoryHandle('turnstone-packs')).then(() => 'kept', () => 'gone')`,
      ),
    ).toBe('gone');
    expect(faults).toEqual([]);
    await context.close();
  });
});

/** Turns one byte over in the largest kept file. */
const DAMAGE = `(async () => {
  const packs = await (await navigator.storage.getDirectory()).getDirectoryHandle('turnstone-packs');
  for await (const folder of packs.values()) for await (const file of folder.values()) {
    const old = await file.getFile();
    if (old.size < 1e6) continue;
    const bytes = new Uint8Array(await old.arrayBuffer());
    bytes[1000] ^= 1;
    const out = await file.createWritable();
    await out.write(bytes);
    await out.close();
  }
})()`;
