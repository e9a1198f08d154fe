/** Answers on the chat page that outlive a reload, the server's death, a lost connection and the tab: whole, each token once. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { workerds } from '../../bench/process.ts';
import type { EngineStats } from '../../engine/index.ts';
import { launchBrowser, noBrowser } from './browser.ts';
import { answers, ask, box, endless, growing, keptId, openPage, proses, ready, settled, watch } from './page-parts.ts';
import { missing, startTestServer } from './server.ts';

const START = 180_000; // ms: builds included
const others = new Set(workerds());
const noProc = process.platform === 'linux' ? null : 'processes are found through /proc';
const QUESTION = 'Write a short story with the words bird, stone and boat.';
/** So many that a fast machine is not done before it is disturbed. */
const TOKENS = 700;
/** … and so many that two tabs can be opened meanwhile. */
const MORE = 1900;
const SEED = 7;
/** So that words come to the end: pebble would repeat itself at what its pack recommends. */
const temperature = 1;

describe.skipIf(noBrowser ?? missing)('an answer on the page', () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  let browser: Browser;
  let context: BrowserContext | undefined;
  let whole: string;
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-page-'));

  beforeAll(async () => {
    server = await startTestServer({}, { port: 0, persist: join(folder, 'state') });
    browser = await launchBrowser();
    whole = await undisturbed(TOKENS);
  }, START);
  afterEach(() => context?.close());
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  }, START);

  async function undisturbed(tokens: number): Promise<string> {
    const body = { model: server.model, input: QUESTION, seed: SEED, temperature, top_p: 1, max_output_tokens: tokens, ignore_eos: true };
    const response = await fetch(`${server.url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return letters(((await response.json()) as { output_text: string }).output_text);
  }

  /** Markdown takes spaces, line ends and marks; what must come whole are the words. */
  const letters = (text: string) => text.replace(/[^\p{L}\p{N}]+/gu, '');

  async function begin(maxTokens = TOKENS): Promise<Page> {
    const opened = await openPage(browser, server.url, { maxTokens, seed: SEED, temperature, topP: 1, stopLoops: false });
    context = opened.context;
    await endless(context);
    await ready(opened.page);
    await ask(opened.page, QUESTION);
    await growing(opened.page, 150);
    return opened.page;
  }
  const running = async () => ((await (await fetch(`${server.url}/ready`)).json()) as { stats: EngineStats }).stats.running;
  const said = async (page: Page) => letters((await proses(page)).join(''));

  it('goes on after a reload in its middle', async () => {
    const page = await begin();
    expect((await said(page)).length).toBeLessThan(whole.length);
    await page.reload();
    await settled(page, 1);
    expect(await said(page)).toBe(whole);
  });

  it('goes on, and its question is kept, when the page is reloaded at once', async () => {
    const opened = await openPage(browser, server.url, { maxTokens: TOKENS, seed: SEED, temperature, topP: 1, stopLoops: false });
    context = opened.context;
    const { page } = opened;
    await endless(context);
    await ready(page);
    await ask(page, QUESTION);
    await expect.poll(() => keptId(page), { interval: 10 }).toMatch(/^resp_/);
    await box(page).fill('a draft');
    await page.reload();
    await settled(page, 1);
    expect(await said(page)).toBe(whole);
    await expect.poll(() => box(page).inputValue()).toBe('a draft');
  });

  it.skipIf(noProc)('goes on when workerd is killed in its middle', async () => {
    const page = await begin();
    const [pid] = workerds().filter((p) => !others.has(p));
    process.kill(pid, 'SIGKILL');
    await page.getByText('The connection is lost.').waitFor();
    await settled(page, 1);
    expect(await said(page)).toBe(whole);
    expect(await page.locator('.problem').count()).toBe(0);
  });

  it('goes on when the page comes back after the answer has ended, and in another chat meanwhile', async () => {
    const page = await begin();
    await page.getByRole('button', { name: 'New chat', exact: true }).click();
    expect(await answers(page).count()).toBe(0);
    await box(page).fill('meanwhile');
    await expect.poll(running, { timeout: 200_000 }).toBe(0);
    await page.getByRole('link', { name: 'Write a short story' }).click();
    await settled(page, 1);
    expect(await said(page)).toBe(whole);
  });

  it('is seen and stopped in another tab, which takes it over when its own is closed', async () => {
    const page = await begin(MORE);
    const other = watch(await context!.newPage(), server.url, []);
    await other.goto(page.url());
    await growing(other, 150);
    await page.close();
    await settled(other, 1);
    expect(await said(other)).toBe(await undisturbed(MORE));

    await other.getByRole('button', { name: 'Regenerate' }).click();
    await growing(other, 50);
    const third = watch(await context!.newPage(), server.url, []);
    await third.goto(other.url());
    await growing(third, 50);
    await third.keyboard.press('Escape');
    await other.locator('.note.end', { hasText: 'Stopped.' }).waitFor();
    await third.locator('.note.end', { hasText: 'Stopped.' }).waitFor();
  });

  it('says that it has begun to repeat itself, is stopped by the page, and can be continued', async () => {
    const opened = await openPage(browser, server.url, { maxTokens: 200, temperature: 0 });
    context = opened.context;
    const { page } = opened;
    await endless(context);
    await ready(page);
    await context.route('**/v1/responses', (route) => {
      const body = { ...route.request().postDataJSON(), ignore_eos: true, logit_bias: { '300': 100 } }; // nothing but one token
      return route.continue({ postData: JSON.stringify(body) });
    });
    await ask(page, QUESTION);
    await page.getByText('Stopped by this page: the answer had begun to repeat itself.').waitFor();
    await page.getByRole('button', { name: 'Continue' }).waitFor();
  });
});
