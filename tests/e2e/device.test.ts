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
const SLOW = 180_000; // a software adapter compiles every kernel on one core

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

  async function open(
    prefer?: 'wasm',
    tamper?: { find?: string; replace?: string; before?: string },
  ): Promise<{ context: BrowserContext; page: Page; faults: string[] }> {
    const context = await browser.newContext();
    const faults: string[] = [];
    await context.addInitScript(`localStorage['turnstone.settings.1'] ??= '{"maxTokens":12,"temperature":0}'`);
    if (prefer) await context.addInitScript(`localStorage['turnstone.device.prefer'] = '${prefer}'`);
    if (tamper) {
      await context.route('**/assets/worker-*.js', async (route) => {
        const code = await (await route.fetch()).text();
        const { find, replace = '', before = '' } = tamper;
        if (find && !code.includes(find)) throw new Error(`the worker has no ${find}`);
        await route.fulfill({ contentType: 'text/javascript', body: before + (find ? code.replace(find, replace) : code) });
      });
    }
    const page = await context.newPage();
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (m) => m.type() === 'error' && m.text().includes('Content Security Policy') && faults.push(m.text()));
    await page.goto(server.url);
    return { context, page, faults };
  }

  const words = async (page: Page) => (await page.locator('.device small').textContent()) ?? '';

  async function turnOn(page: Page): Promise<string> {
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByRole('switch', { name: 'Run on this device' }).check();
    await page.locator('.device small', { hasText: 'Nothing leaves this device' }).waitFor({ timeout: SLOW });
    return words(page);
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
    const said = await turnOn(page);
    console.log(`device: ${said}`);
    expect(said).toContain('WebGPU on ');
    const folder = join(ROOT, '.build/webgpu');
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: join(folder, 'device-settings.png') });
    await page.keyboard.press('Escape');
    expect(await page.locator('.empty').textContent()).toContain('runs on this device');
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

  it('goes on with a chat that began at the server, on the pages computed there', { timeout: 2 * SLOW }, async () => {
    const { context, page, faults } = await open();
    const asked: string[] = [];
    page.on('request', (r) => void (r.url().endsWith('/v1/turnstone/pages') && asked.push(r.postData() ?? '')));
    const long = Array.from({ length: 8 }, (_, i) => `The bird has ${i + 2} stones and the goat has ${i + 5} more.`).join(' ');
    await ask(page, long, 1);
    await turnOn(page);
    const note = page.locator('.device small', { hasText: 'came along from the server' });
    await note.waitFor({ timeout: SLOW });
    const carried = Number(/(\d+) tokens of this chat/.exec(await words(page))?.[1]);
    expect(carried % 16).toBe(0);
    expect(carried).toBeGreaterThan(96);
    await page.keyboard.press('Escape');

    await ask(page, 'Who has more?', 2);
    const figures = await page.getByRole('list', { name: 'Figures' }).last().textContent();
    console.log(`on the device after ${carried} tokens from the server: ${figures}`);
    const [, cached, prompt] = /(\d+)\/(\d+) cached/.exec(figures ?? '') ?? [];
    expect(Number(cached)).toBe(carried);
    expect(Number(prompt) - carried).toBeLessThan(64); // the server's answer's last tokens, and the new question
    expect(figures).toContain('this device');

    // what was said on the device stays there when the server is asked again
    await page.reload();
    await page.locator('.server[data-state=ready]').waitFor({ timeout: SLOW });
    await expect.poll(() => asked.length, { timeout: SLOW }).toBe(2);
    for (const body of asked) expect(body).not.toContain('Who has more?');
    expect(faults).toEqual([]);
    await context.close();
  });

  it('says that the GPU was lost, and goes on with a new one', { timeout: 2 * SLOW }, async () => {
    const { context, page } = await open(undefined, { before: CATCH_DEVICE });
    expect(await turnOn(page)).toContain('WebGPU on ');
    await page.workers()[0].evaluate('lastDevice.destroy()');
    await page.locator('.device small', { hasText: 'The GPU was lost' }).waitFor({ timeout: SLOW });
    expect(await words(page)).toContain('The next question starts it again.');
    await page.keyboard.press('Escape');
    expect(await ask(page, 'What is 12 + 13?', 1)).not.toBe('');
    await page.getByRole('button', { name: 'Settings' }).click();
    expect(await words(page)).toContain('WebGPU on ');
    await context.close();
  });

  it.each([
    ['a kernel that its compiler refuses', { find: 'fn expf(', replace: 'fn expf_ oops(' }, /compiler refuses the kernel/],
    ['no room for the model', { before: NO_ROOM }, /has no room for kv pages/],
  ])('goes on with wasm on a GPU with %s, and says so', { timeout: 2 * SLOW }, async (_, tamper, why) => {
    const { context, page } = await open(undefined, tamper);
    const said = await turnOn(page);
    console.log(`device: ${said}`);
    expect(said).toMatch(/^WebAssembly/);
    expect(said).toMatch(why);
    await page.keyboard.press('Escape');
    expect(await ask(page, 'What is 12 + 13?', 1)).not.toBe('');
    await context.close();
  });

  it('runs on wasm where there is no GPU, goes on with a broken-off file, mends a damaged one, and is removed', {
    timeout: 2 * SLOW,
  }, async () => {
    const { context, page, faults } = await open('wasm');
    expect(await turnOn(page)).toContain('WebAssembly');
    await page.keyboard.press('Escape');
    const first = await ask(page, 'What is 21 + 34?', 1);

    const ranges: (string | undefined)[] = [];
    page.on('request', (r) => void (r.url().endsWith('.bin') && ranges.push(r.headers().range)));
    await page.evaluate(change('await out.write(bytes.subarray(0, 777_777))'));
    await page.reload();
    await page.locator('.server[data-state=ready]').waitFor({ timeout: SLOW });
    expect(ranges).toEqual([expect.stringMatching(/^bytes=777777-/)]);

    await page.evaluate(change('bytes[1000] ^= 1; await out.write(bytes)'));
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

/** Before the worker's script: the device is kept where a test can lose it. */
const CATCH_DEVICE = `{ const ask = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (o) { return (self.lastDevice = await ask.call(this, o)); }; }\n`;

/** Before the worker's script: the GPU says of one buffer what it says when it has no room. */
const NO_ROOM = `{ const make = GPUDevice.prototype.createBuffer, pop = GPUDevice.prototype.popErrorScope; let full = false;
  GPUDevice.prototype.createBuffer = function (o) { full ||= o.label === 'kv pages'; return make.call(this, o); };
  GPUDevice.prototype.popErrorScope = async function () {
    const now = full; full = false; const said = await pop.call(this); return now ? new GPUOutOfMemoryError('Out of memory') : said; }; }\n`;

/** Does something to the large kept file. */
const change = (what: string): string => `(async () => {
  const packs = await (await navigator.storage.getDirectory()).getDirectoryHandle('turnstone-packs');
  for await (const folder of packs.values()) for await (const file of folder.values()) {
    const old = await file.getFile();
    if (old.size < 1e6) continue;
    const bytes = new Uint8Array(await old.arrayBuffer());
    const out = await file.createWritable();
    ${what};
    await out.close();
  }
})()`;
