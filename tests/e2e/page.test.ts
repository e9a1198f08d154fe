/** The chat page in a real browser, against the real server and the shipped model. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import type { Server } from '../../cli/start.ts';
import { launchBrowser, noBrowser } from './browser.ts';
import { answered, answers, ask, box, endless, openPage, proses, ready, region, settled, stones } from './page-parts.ts';
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
    const opened = await openPage(browser, url, { maxTokens, temperature: 0 }, options);
    ({ context, faults } = opened);
    return opened.page;
  }

  it('streams an answer and says how fast', async () => {
    const page = await open({ maxTokens: 200 });
    const cancelled: string[] = [];
    page.on('requestfailed', (request) => cancelled.push(`${request.url()} ${request.failure()?.errorText}`));
    await ready(page);
    await page.evaluate(WATCH);
    await endless(context!);
    const read = page.waitForEvent('requestfinished', (request) => request.url().endsWith('/v1/responses'));
    await ask(page, 'Write a short story with the words bird, stone and boat.');
    await settled(page, 1);
    expect(await page.evaluate('lengths.size'), 'lengths seen while the answer grew').toBeGreaterThan(3);
    expect(await page.locator('.prose').textContent()).toMatch(/.{10}/s);
    const figures = await page.getByRole('list', { name: 'Figures' }).textContent();
    expect(figures).toMatch(/\d tokens\/s/);
    expect(figures).toMatch(/\d prompt tokens\/s/);
    expect(await page.getByTitle('by the server’s count and clock').count(), 'not by the page’s own').toBe(1);
    expect(figures).toMatch(/to first/);
    expect(figures).toMatch(/\d+ tokens/);
    await read;
    expect(cancelled, 'an answer that was read to its end').toEqual([]);

    await page.getByRole('button', { name: 'What these figures mean' }).click();
    await page.getByRole('dialog', { name: 'Keys and figures' }).getByText('Decode').waitFor();
  });

  it('stops at Escape, and the server stops too', async () => {
    const page = await open({ maxTokens: null }); // to the end of the context
    await ready(page);
    await endless(context!);
    await ask(page, 'Write a short story with the words river, lamp and goat.');
    await page.locator('.answer[data-live=true] .prose').waitFor();
    await page.keyboard.press('Escape');
    await settled(page, 1);
    expect(await page.locator('.note span').textContent()).toBe('Stopped.');
    const kept = await page.locator('.prose').textContent();
    const aborted = async () => (await (await fetch(`${server.url}/metrics`)).text()).match(/finished_reason="abort"\} (\d+)/)?.[1];
    await expect.poll(aborted, { timeout: 10_000 }).toBe('1');
    expect(await page.locator('.prose').textContent(), 'nothing came after it').toBe(kept);
  });

  it('keeps every version when it regenerates, edits a question and edits an answer', async () => {
    const page = await open();
    const first = await answered(page, 'What is 21 + 34?', 1);
    await page.getByRole('button', { name: 'Regenerate' }).click();
    await settled(page, 1);
    await page.getByText('2/2').waitFor();
    await page.getByRole('button', { name: 'Earlier version' }).click();
    expect(await proses(page)).toEqual([first]);

    await box(page).focus();
    await page.keyboard.press('ArrowUp');
    const editor = page.getByRole('textbox', { name: 'Edit message' });
    expect(await editor.inputValue()).toBe('What is 21 + 34?');
    await editor.fill('What is 12 + 13?');
    await page.keyboard.press('Enter');
    await settled(page, 1);
    expect(await stones(page)).toEqual(['What is 12 + 13?']);

    await page.getByRole('button', { name: 'Edit answer' }).click();
    await page.getByRole('textbox', { name: 'Edit answer' }).fill('It is a secret.');
    await page.keyboard.press('Enter');
    expect(await proses(page)).toEqual(['It is a secret.']);
    await page.getByText('Edited by you').waitFor();
    const sent = page.waitForRequest('**/v1/responses');
    await answered(page, 'Thank you.', 2);
    // what the model is told is what stands here, not what it said
    expect((await sent).postDataJSON().input).toEqual([
      { role: 'user', content: 'What is 12 + 13?' },
      { role: 'assistant', content: 'It is a secret.' },
      { role: 'user', content: 'Thank you.' },
    ]);

    await page.reload();
    await settled(page, 2);
    await page.locator('.question').first().hover();
    await page.getByRole('button', { name: 'Earlier version' }).first().click();
    expect(await stones(page)).toEqual(['What is 21 + 34?']);
  });

  it('goes on with a conversation, from cache, and keeps it over a reload', async () => {
    const page = await open();
    await answered(page, 'Nora has a small dog named Pip. She lives in Bergen and works as a teacher.', 1);
    const sent = page.waitForRequest('**/v1/responses');
    await answered(page, 'What is the name of the dog?', 2);
    // only what is new goes to the server that holds the rest
    expect((await sent).postDataJSON()).toMatchObject({
      input: [{ role: 'user', content: 'What is the name of the dog?' }],
      previous_response_id: expect.stringMatching(/^resp_/),
    });
    expect(await page.getByRole('list', { name: 'Figures' }).nth(1).textContent()).toMatch(/\d+\/\d+ cached/);
    const before = await region(page).textContent();
    await page.reload();
    await settled(page, 2);
    expect(await region(page).textContent()).toBe(before);

    await page.getByRole('button', { name: 'New chat', exact: true }).click();
    await expect.poll(() => answers(page).count()).toBe(0);
    await page.getByRole('link', { name: 'Nora has a small dog' }).click();
    await expect.poll(() => answers(page).count()).toBe(2);
    await page.goBack();
    await expect.poll(() => answers(page).count()).toBe(0);
  });

  it('lets settings into the next request', async () => {
    const page = await open();
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByLabel('Max tokens').fill('3');
    await page.getByLabel('Temperature').fill('0');
    await page.keyboard.press('Escape');
    const sent = page.waitForRequest('**/v1/responses');
    await ask(page, 'Write a short story with the words bird, stone and boat.');
    expect((await sent).postDataJSON()).toMatchObject({
      max_output_tokens: 3,
      temperature: 0,
      stream: true,
      store: true,
      background: true,
    });
    await settled(page, 1);
    const note = page.locator('.note.end');
    expect(await note.textContent()).toContain('Cut off at the limit of tokens for an answer (3).');

    // and goes on where it was cut off, each token once
    const body = {
      model: server.pack.id,
      temperature: 0,
      max_tokens: 6,
      messages: [{ role: 'user', content: 'Write a short story with the words bird, stone and boat.' }],
    };
    const whole = await (
      await fetch(`${server.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    ).json();
    await note.getByRole('button', { name: 'Continue' }).click();
    await expect.poll(() => proses(page)).toEqual([(whole as { choices: { message: { content: string } }[] }).choices[0].message.content]);
  });

  it('asks for JSON by a schema, and keeps prompt and sampling as a preset', async () => {
    const page = await open({ maxTokens: 60 });
    await page.getByRole('button', { name: 'Settings' }).click();
    const dialog = page.getByRole('dialog', { name: 'Settings' });
    await dialog.getByLabel('System prompt of this chat').fill('You are brief.');
    expect(await dialog.getByLabel('Temperature').getAttribute('placeholder')).toBe('0.3 (default)');
    await dialog.getByLabel('Top k').fill('20');
    await dialog.getByLabel('Keep prompt and sampling as').fill('Brief');
    await page.keyboard.press('Enter');
    await dialog.getByRole('button', { name: 'Sampling as the model wants it' }).click();
    expect(await dialog.getByLabel('Top k').inputValue()).toBe('');
    await dialog.getByRole('button', { name: 'Brief', exact: true }).click();
    expect(await dialog.getByLabel('Top k').inputValue()).toBe('20');
    await dialog.getByText('JSON schema').click();
    await dialog
      .getByLabel('Answers of this chat are JSON')
      .fill('{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}');
    await page.keyboard.press('Escape');
    const sent = page.waitForRequest('**/v1/responses');
    const answer = await answered(page, 'Is it well?', 1);
    expect((await sent).postDataJSON()).toMatchObject({
      instructions: 'You are brief.',
      top_k: 20,
      text: { format: { type: 'json_schema' } },
    });
    expect(Object.keys(JSON.parse(answer))).toEqual(['ok']);
    await page.reload();
    await settled(page, 1);
    await page.getByRole('button', { name: 'Settings' }).click();
    expect(await dialog.getByLabel('System prompt of this chat').inputValue()).toBe('You are brief.');
  });

  it('reads text files along, and refuses what is none', async () => {
    const page = await open();
    const file = (name: string, buffer: Buffer) => ({ name, mimeType: 'text/plain', buffer });
    const picker = page.locator('.composer input[type=file]');
    await picker.setInputFiles(file('photo.bin', Buffer.from([0xff, 0xfe, 0, 1])));
    await page.getByText('photo.bin is no text.').waitFor();
    await picker.setInputFiles(file('note.txt', Buffer.from('Tom found 14 shells on the beach.')));
    await page.getByRole('list', { name: 'Attached files' }).getByText('note.txt').waitFor();
    const sent = page.waitForRequest('**/v1/responses');
    await answered(page, 'How many shells did Tom find?', 1);
    expect((await sent).postDataJSON().input[0].content).toBe(
      'note.txt:\n```\nTom found 14 shells on the beach.\n```\n\nHow many shells did Tom find?',
    );
    await page.reload();
    await page.locator('.file summary', { hasText: 'note.txt' }).waitFor();
  });

  it('says that the model is being loaded, and can be installed', async () => {
    const page = await open();
    await ready(page);
    const devtools = await context!.newCDPSession(page);
    const { installabilityErrors } = await devtools.send('Page.getInstallabilityErrors');
    expect(installabilityErrors.map(({ errorId }) => errorId)).toEqual(['in-incognito']); // as every test is
    for (const icon of ['icon-192.png', 'icon-512.png', 'mark.svg']) expect((await fetch(`${server.url}/${icon}`)).ok).toBe(true);
    let go = () => {};
    await page.route('**/v1/models', (route) => new Promise<void>((resolve) => (go = () => resolve(route.continue()))));
    await page.reload();
    await page.getByText(/^loading the model… \d+ s$/).waitFor();
    go();
    await ready(page);
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

  it("OpenAI's own client runs in a page", async () => {
    const page = await open();
    const stdin = { contents: "import OpenAI from 'openai'; globalThis.OpenAI = OpenAI;", resolveDir: ROOT };
    const { outputFiles } = await build({ stdin, bundle: true, write: false, format: 'iife', platform: 'browser', minify: true });
    await page.evaluate(outputFiles[0].text);
    const [whole, streamed, response] = (await page.evaluate(`(async () => {
      const client = new OpenAI({ baseURL: location.origin + '/v1', apiKey: 'unused', dangerouslyAllowBrowser: true });
      const asked = { model: 'pebble', messages: [{ role: 'user', content: 'Who are you?' }], temperature: 0, max_tokens: 24 };
      const whole = (await client.chat.completions.create(asked)).choices[0].message.content;
      let streamed = '';
      for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) streamed += chunk.choices[0]?.delta.content ?? '';
      const { output_text } = await client.responses.create({ model: 'pebble', input: 'Who are you?', temperature: 0, max_output_tokens: 24 });
      return [whole, streamed, output_text];
    })()`)) as string[];
    expect(whole.length).toBeGreaterThan(0);
    expect([streamed, response]).toEqual([whole, whole]);
  });

  it(
    'asks for a key where one is needed, and says when the server has gone',
    async () => {
      const persist = mkdtempSync(join(tmpdir(), 'turnstone-page-'));
      const locked = await startTestServer({ API_KEYS: 'stone-and-shore' }, { port: 0, persist });
      let running: Server | undefined = locked;
      try {
        const page = await open({ url: locked.url });
        const key = page.locator('.dock .problem').getByLabel('API key');
        await key.waitFor();
        await ask(page, 'Who are you?');
        const again = page.locator('.answer .problem').getByLabel('API key');
        await again.fill('stone-and-shore');
        await page.keyboard.press('Enter');
        await page.locator('.answer .prose').waitFor();
        await settled(page, 1);
        await locked.stop();
        running = undefined;
        await ask(page, 'Are you still there?');
        await page.locator('.answer .problem').getByText('The server cannot be reached.').waitFor();
        await page.locator('.server', { hasText: 'server away' }).waitFor();
        running = await startTestServer({ API_KEYS: 'stone-and-shore' }, { port: Number(new URL(locked.url).port), persist });
        await ready(page); // it is found again without the reader
        await page.getByRole('button', { name: 'Try again' }).click();
        await settled(page, 2);
        expect(await page.locator('.problem').count()).toBe(0);
        faults = faults.filter((fault) => !fault.includes('net::ERR'));
      } finally {
        await running?.stop();
        rmSync(persist, { recursive: true, force: true });
      }
    },
    START,
  );
});
