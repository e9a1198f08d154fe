/** The list of chats on the page: names, search, deletion, tabs, drafts, files; and what assistive technology finds. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { launchBrowser, noBrowser } from './browser.ts';
import { answered, answers, box, keptId, openPage, ready, region, settled, stones, watch } from './page-parts.ts';
import { missing, startTestServer } from './server.ts';

const START = 180_000; // ms: builds included
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Two frames later, and when what moves by itself has come to rest. */
const SETTLED = `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))).then(() =>
  Promise.allSettled(document.getAnimations().filter((a) => a instanceof CSSTransition).map((a) => a.finished)))`;

describe.skipIf(noBrowser ?? missing)('chats on the page', () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  let browser: Browser;
  let context: BrowserContext | undefined;
  let faults: string[] = [];

  beforeAll(async () => {
    server = await startTestServer({});
    browser = await launchBrowser();
  }, START);
  afterEach(async () => {
    await context?.close();
    expect(faults).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
  }, START);

  async function open(options = {}): Promise<Page> {
    const opened = await openPage(browser, server.url, { maxTokens: 24, temperature: 0 }, { acceptDownloads: true, ...options });
    ({ context, faults } = opened);
    await ready(opened.page);
    return opened.page;
  }
  /** `moment`: ms since 1970. */
  const sendAt = (page: Page, moment: number) =>
    page.evaluate((at) => setTimeout(() => document.querySelector<HTMLFormElement>('.composer')?.requestSubmit(), at - Date.now()), moment);
  const names = (page: Page) => page.locator('.entry a').allTextContents();
  const entry = (page: Page, name: string) => page.locator('.entry', { hasText: name });

  it('have names, are found, renamed, deleted and brought back', async () => {
    const page = await open();
    await answered(page, 'My dog is called Max.', 1);
    await page.keyboard.press('Control+Shift+O');
    await answered(page, 'What is 21 + 34?', 1);
    await expect.poll(() => names(page)).toEqual(['What is 21 + 34?', 'My dog is called Max.']);

    await entry(page, 'Max').hover();
    await page.getByRole('button', { name: 'Rename My dog is called Max.' }).click();
    await page.getByRole('textbox', { name: 'Name of the chat' }).fill('The dog');
    await page.keyboard.press('Enter');
    await expect.poll(() => names(page)).toContain('The dog');

    await page.keyboard.press('Control+K');
    await page.keyboard.type('max');
    await expect.poll(() => names(page)).toEqual(['The dog']);
    await page.getByRole('searchbox').fill('');
    await page.getByRole('link', { name: 'The dog' }).click();
    await expect.poll(() => stones(page)).toEqual(['My dog is called Max.']);

    await entry(page, 'The dog').hover();
    await page.getByRole('button', { name: 'Delete The dog' }).click();
    await expect.poll(() => answers(page).count()).toBe(0);
    await expect.poll(() => names(page)).toEqual(['What is 21 + 34?']);
    await page.getByRole('button', { name: 'Bring it back' }).click();
    await expect.poll(() => stones(page)).toEqual(['My dog is called Max.']);
    await expect.poll(() => names(page)).toContain('The dog');
    await page.reload();
    await expect.poll(() => stones(page)).toEqual(['My dog is called Max.']);
  });

  it('lose nothing when two tabs go on with one at the same time', async () => {
    const page = await open();
    await answered(page, 'My dog is called Max.', 1);
    const other = watch(await context!.newPage(), server.url, faults);
    await other.goto(page.url());
    await settled(other, 1);
    // at one moment: a tab that has heard of the other's question waits for its answer
    await box(page).fill('What is the name of my dog?');
    await box(other).fill('What is 12 + 13?');
    const moment = Date.now() + 300;
    await Promise.all([sendAt(page, moment), sendAt(other, moment)]);
    await Promise.all([settled(page, 2), settled(other, 2)]);
    // each tab shows its own branch; the other one is beside it
    expect(await stones(page)).toEqual(['My dog is called Max.', 'What is the name of my dog?']);
    expect(await stones(other)).toEqual(['My dog is called Max.', 'What is 12 + 13?']);
    for (const tab of [page, other]) await tab.locator('.question .branches', { hasText: '/2' }).waitFor();
    await page.reload();
    await settled(page, 2);
    await page.locator('.question .branches', { hasText: '/2' }).waitFor();
    // a chat that is begun in one tab stands in the other's list
    await page.keyboard.press('Control+Shift+O');
    await answered(page, 'Who are you?', 1);
    await expect.poll(() => names(other)).toContain('Who are you?');
    expect(await stones(other)).toHaveLength(2);
  });

  it('keep their drafts', async () => {
    const page = await open();
    await answered(page, 'My dog is called Max.', 1);
    await box(page).fill('half a thou');
    await page.keyboard.press('Control+Shift+O');
    expect(await box(page).inputValue()).toBe('');
    await box(page).fill('of another chat');
    await page.getByRole('link', { name: 'My dog' }).click();
    await expect.poll(() => box(page).inputValue()).toBe('half a thou');
    await page.reload();
    await expect.poll(() => box(page).inputValue()).toBe('half a thou');
    await page.goto(server.url);
    await expect.poll(() => box(page).inputValue()).toBe('of another chat');
  });

  it('go out as files and come back with every branch', async () => {
    const page = await open();
    await answered(page, 'My dog is called Max.', 1);
    await page.locator('.question').hover();
    await page.getByRole('button', { name: 'Edit message' }).click();
    await page.getByRole('textbox', { name: 'Edit message' }).fill('My cat is called Tom.');
    await page.keyboard.press('Enter');
    await settled(page, 1);
    const before = await region(page).textContent();

    await page.getByRole('button', { name: 'Settings' }).click();
    const markdown = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Export as Markdown' }).click();
    const text = readFileSync(await (await markdown).path(), 'utf8');
    expect(text).toMatch(/^# My cat is called Tom\.\n\n## You\n\nMy cat is called Tom\.\n\n## Answer\n\n/);
    await page.keyboard.press('Escape');
    const json = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Export all' }).click();
    const file = { name: 'chats.json', mimeType: 'application/json', buffer: readFileSync(await (await json).path()) };

    await context!.close();
    const fresh = await open();
    await fresh.getByLabel('Import chats').setInputFiles({ name: 'x.json', mimeType: 'application/json', buffer: Buffer.from('{"a":1}') });
    await fresh.getByRole('alert').getByText('This file holds no conversations of this page.').waitFor();
    await fresh.getByLabel('Import chats').setInputFiles(file);
    await settled(fresh, 1);
    expect(await region(fresh).textContent()).toBe(before);
    await fresh.locator('.question').hover();
    await fresh.getByRole('button', { name: 'Earlier version' }).click();
    expect(await stones(fresh)).toEqual(['My dog is called Max.']);
    await answered(fresh, 'What is the name of my dog?', 2); // and it can be gone on with
  });

  it('are gone from the server with the page’s own copy', async () => {
    const page = await open();
    const begun = page.waitForRequest((r) => r.url().endsWith('/v1/responses') && r.method() === 'POST');
    await answered(page, 'My dog is called Max.', 1);
    await begun;
    const id = await keptId(page);
    const status = async () => (await fetch(`${server.url}/v1/responses/${id}`)).status;
    expect(await status()).toBe(200);
    for (const name of ['My dog is called Max.', 'Who are you?']) {
      // the second one ends the time in which the first can be brought back
      if (name !== 'My dog is called Max.') {
        await page.keyboard.press('Control+Shift+O');
        await answered(page, name, 1);
      }
      await entry(page, name).hover();
      await page.getByRole('button', { name: `Delete ${name}` }).click();
    }
    await expect.poll(status).toBe(404);
  });

  it('have no findings of axe: chat, list, settings, keys and accelerator, light and dark, wide and at 360 px', {
    timeout: 120_000,
  }, async () => {
    const page = await open();
    const findings: string[] = [];
    const look = async (what: string) => {
      if (!(await page.evaluate('"axe" in window'))) await page.evaluate(AXE);
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        const { violations } = (await page.evaluate('axe.run(document, { resultTypes: ["violations"] })')) as {
          violations: { id: string; nodes: { html: string; failureSummary: string }[] }[];
        };
        for (const { id, nodes } of violations)
          findings.push(`${what}, ${colorScheme}: ${id} ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`);
      }
    };
    await look('empty');
    await answered(page, 'My dog is called Max.', 1);
    await page.getByRole('button', { name: 'Regenerate' }).click();
    await settled(page, 1);
    for (const width of [1180, 360]) {
      await page.setViewportSize({ width, height: 740 });
      await page.evaluate(SETTLED);
      await look(`chat at ${width}`);
      expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
      if (width < 900) {
        await page.getByRole('button', { name: 'Chats', exact: true }).click();
        await look('list');
        await page.keyboard.press('Escape');
      }
      await page.keyboard.press('Control+,');
      for (const part of ['Tools', 'JSON schema'])
        await page
          .locator('details:not([open]) > summary', { hasText: part })
          .click({ timeout: 1000 })
          .catch(() => {});
      await look(`settings at ${width}`);
      await page.keyboard.press('Escape');
      await page.keyboard.press('Control+/');
      await look(`keys at ${width}`);
      await page.keyboard.press('Escape');
    }
    await page.goto(`${server.url}/npu`);
    await page.getByRole('button', { name: 'Simulate' }).waitFor();
    for (const width of [360, 1180]) {
      await page.setViewportSize({ width, height: 740 });
      await look(`accelerator at ${width}`);
    }
    faults = faults.filter((fault) => !/status of (404|501|503)/.test(fault));
    expect(findings).toEqual([]);
  });
});
