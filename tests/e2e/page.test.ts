/** The chat page in a real browser, against the real server and the shipped model. */
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Server } from '../../cli/start.ts';
import { launchBrowser, noBrowser } from './browser.ts';
import { missing, startTestServer } from './server.ts';

const START = 180_000; // ms: builds included

/** Notes every length an answer has on its way. */
const WATCH = `lengths = new Set(); new MutationObserver(() => lengths.add(document.querySelector('.prose')?.textContent.length))
  .observe(document.body, { subtree: true, childList: true, characterData: true })`;

describe.skipIf(noBrowser ?? missing)('the chat page', () => {
  let server: Server;
  let browser: Browser;
  let context: BrowserContext | undefined;
  /** What the browser complained of, and what it asked of anybody else. */
  let faults: string[] = [];

  beforeAll(async () => {
    server = await startTestServer({});
    browser = await launchBrowser();
  }, START);

  afterEach(async () => {
    await context?.close();
    expect(faults.filter((fault) => !fault.includes('the server responded with a status of'))).toEqual([]);
    faults = [];
  });

  afterAll(async () => {
    await browser?.close();
    await server?.stop();
  }, START);

  async function open({
    maxTokens = 40,
    url = server.url,
    ...options
  }: BrowserContextOptions & { maxTokens?: number | null; url?: string } = {}): Promise<Page> {
    context = await browser.newContext(options);
    await context.addInitScript(`localStorage['turnstone.settings.1'] ??= '{"maxTokens":${maxTokens}}'`);
    const page = await context.newPage();
    page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('request', (request) => new URL(request.url()).origin === new URL(url).origin || faults.push(`request to ${request.url()}`));
    await page.goto(url);
    return page;
  }

  const box = (page: Page) => page.getByRole('textbox', { name: 'Message', exact: true });
  const answers = (page: Page) => page.getByRole('article', { name: 'Answer' });
  const settled = (page: Page, count: number) =>
    page
      .locator('.answer[data-live=false]')
      .nth(count - 1)
      .waitFor();
  /** The answer goes on until `max_tokens`, whatever the model would do: something to watch and to stop. */
  const endless = (page: Page) =>
    page.route('**/v1/chat/completions', (route) =>
      route.continue({ postData: JSON.stringify({ ...route.request().postDataJSON(), ignore_eos: true }) }),
    );
  async function ask(page: Page, text: string): Promise<void> {
    await box(page).focus();
    await page.keyboard.type(text);
    await page.keyboard.press('Enter');
  }

  it('streams an answer and says how fast', async () => {
    const page = await open({ maxTokens: 200 });
    await page.locator('.server[data-state=ready]').waitFor();
    await page.evaluate(WATCH);
    await endless(page);
    await ask(page, 'Write a short story with the words bird, stone and boat.');
    await settled(page, 1);
    expect(await page.evaluate('lengths.size'), 'lengths seen while the answer grew').toBeGreaterThan(3);
    expect(await page.locator('.prose').textContent()).toMatch(/.{10}/s);
    const figures = await page.getByRole('list', { name: 'Figures' }).textContent();
    expect(figures).toMatch(/tokens\/s/);
    expect(figures).toMatch(/to first/);
    expect(figures).toMatch(/\d+ tokens/);
  });

  it('stops at Escape, and the server stops too', async () => {
    const page = await open({ maxTokens: null }); // to the end of the context
    await page.locator('.server[data-state=ready]').waitFor();
    await endless(page);
    await ask(page, 'Write a short story with the words river, lamp and goat.');
    await page.locator('.answer[data-live=true] .prose').waitFor();
    await page.keyboard.press('Escape');
    await settled(page, 1);
    expect(await page.locator('.note').textContent()).toBe('Stopped.');
    const kept = await page.locator('.prose').textContent();
    await page.waitForTimeout(300);
    expect(await page.locator('.prose').textContent()).toBe(kept);
    const aborted = async () => (await (await fetch(`${server.url}/metrics`)).text()).match(/finished_reason="abort"\} (\d+)/)?.[1];
    await expect.poll(aborted, { timeout: 10_000 }).toBe('1');
  });

  it('regenerates, edits, and takes both back', async () => {
    const page = await open();
    await ask(page, 'What is 21 + 34?');
    await settled(page, 1);
    const first = await page.locator('.prose').textContent();

    await page.getByRole('button', { name: 'Regenerate' }).click();
    await page.getByRole('button', { name: 'Bring back the earlier answer' }).click();
    expect(await page.locator('.prose').textContent()).toBe(first);

    await box(page).focus();
    await page.keyboard.press('ArrowUp');
    const editor = page.getByRole('textbox', { name: 'Edit message' });
    expect(await editor.inputValue()).toBe('What is 21 + 34?');
    await editor.fill('What is 12 + 13?');
    await page.keyboard.press('Enter');
    await settled(page, 1);
    expect(await page.locator('.stone').allTextContents()).toEqual(['What is 12 + 13?']);
    await page.getByRole('button', { name: 'Undo the edit' }).click();
    expect(await page.locator('.stone').allTextContents()).toEqual(['What is 21 + 34?']);
  });

  it('goes on with a conversation, from cache, and keeps it over a reload', async () => {
    const page = await open();
    await ask(page, 'Nora has a small dog named Pip. She lives in Bergen and works as a teacher.');
    await settled(page, 1);
    await ask(page, 'What is the name of the dog?');
    await settled(page, 2);
    expect(await page.getByRole('list', { name: 'Figures' }).nth(1).textContent()).toMatch(/\d+\/\d+ cached/);
    const before = await page.getByRole('region', { name: 'Conversation' }).textContent();
    await page.reload();
    await settled(page, 2);
    expect(await page.getByRole('region', { name: 'Conversation' }).textContent()).toBe(before);

    await page.getByRole('button', { name: 'New chat' }).click();
    expect(await answers(page).count()).toBe(0);
    await page.getByRole('button', { name: 'Bring back the last chat' }).click();
    expect(await answers(page).count()).toBe(2);
  });

  it('lets settings into the next request', async () => {
    const page = await open();
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByLabel('Max tokens').fill('3');
    await page.getByLabel('Temperature').fill('0');
    await page.keyboard.press('Escape');
    const sent = page.waitForRequest('**/v1/chat/completions');
    await ask(page, 'Write a short story with the words bird, stone and boat.');
    expect((await sent).postDataJSON()).toMatchObject({ max_tokens: 3, temperature: 0, stream: true });
    await settled(page, 1);
    expect(await page.locator('.note').textContent()).toContain('token limit');
  });

  it('leaves Enter to an input method that composes', async () => {
    const page = await open();
    await box(page).fill('ka');
    await box(page).dispatchEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true });
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('b');
    expect(await box(page).inputValue()).toBe('ka\nb');
    expect(await answers(page).count()).toBe(0);
  });

  it('fits a phone, and shows hostile markdown as text', async () => {
    const page = await open({ viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true });
    const overflow = () => page.evaluate('document.documentElement.scrollWidth - innerWidth');
    expect(await overflow()).toBe(0);
    const hostile = [
      '<img src=x onerror="window.pwned = 1"><script>window.pwned = 2</script>',
      '[click](javascript:window.pwned=3) ![x](https://example.org/pixel.gif)',
      `| ${'wide | '.repeat(30)}\n|${' --- |'.repeat(30)}\n| ${'cell | '.repeat(30)}`,
      `\`\`\`\n${'long '.repeat(60)}\n\`\`\``,
      'W'.repeat(400),
    ].join('\n\n');
    const turns = [
      { role: 'user', text: 'x'.repeat(300) },
      { role: 'assistant', text: hostile, status: 'done', calls: [], stats: { pieces: 1 } },
    ];
    await page.evaluate(`localStorage.setItem('turnstone.chat.1', ${JSON.stringify(JSON.stringify({ turns }))})`);
    await page.reload();
    await settled(page, 1);
    expect(await overflow()).toBe(0);
    expect(await page.locator('.prose img, .prose script, .prose a[href^="javascript"]').count()).toBe(0);
    expect(await page.evaluate('window.pwned')).toBeUndefined();
    expect(await page.locator('.prose a').getAttribute('href')).toBe('https://example.org/pixel.gif');
  });

  it(
    'asks for a key where one is needed, and says when the server has gone',
    async () => {
      const locked = await startTestServer({ API_KEYS: 'stone-and-shore' });
      let running: Server | undefined = locked;
      try {
        const page = await open({ url: locked.url });
        const key = page.locator('.problem').getByLabel('API key');
        await key.waitFor();
        await ask(page, 'Who are you?');
        await page.locator('.answer .problem').waitFor();
        await key.fill('stone-and-shore');
        await page.keyboard.press('Enter');
        await page.locator('.answer .prose').waitFor();
        await settled(page, 1);
        await locked.stop();
        running = undefined;
        await ask(page, 'Are you still there?');
        await page.locator('.answer .problem').getByText('The server cannot be reached.').waitFor();
        faults = faults.filter((fault) => !fault.includes('net::ERR'));
      } finally {
        await running?.stop();
      }
    },
    START,
  );
});
