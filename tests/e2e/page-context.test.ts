/** The chat page when the model's context fills, in a long conversation, and what it shows of formulas and code. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { type Example, PEBBLE } from '../../web/src/examples.ts';
import { launchBrowser, noBrowser } from './browser.ts';
import { answered, answers, ask, box, openPage, ready, settled, stones } from './page-parts.ts';
import { missing, startTestServer } from './server.ts';

const START = 180_000; // ms: builds included
const CONTEXT = 256; // tokens
const QUESTION = 'A question that is typed into a very long conversation.';
/** Until the page has nothing left to do: it has been idle ten times, and nothing in it has changed in between. */
const IDLE = `new Promise((done) => {
  let quiet = 0;
  const seen = new MutationObserver(() => { quiet = 0; });
  seen.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
  const next = () => (++quiet > 10 ? (seen.disconnect(), done()) : requestIdleCallback(next));
  next();
})`;
/** Gzipped bytes of what the page loads: at first, and when code or a formula stands for the first time. */
const BUDGET = { first: 70_000, highlight: 56_000, katex: 82_000 };

describe.skipIf(noBrowser ?? missing)('the page in a small context', () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  let browser: Browser;
  let context: BrowserContext | undefined;
  let faults: string[] = [];

  beforeAll(async () => {
    server = await startTestServer({ CONTEXT: String(CONTEXT) });
    browser = await launchBrowser();
  }, START);
  afterEach(async () => {
    await context?.close();
    expect(faults.filter((fault) => !fault.includes('the server responded with a status of'))).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
  }, START);

  async function open(settings: object = {}): Promise<Page> {
    const opened = await openPage(browser, server.url, { temperature: 0, maxTokens: 16, ...settings });
    ({ context, faults } = opened);
    await ready(opened.page);
    return opened.page;
  }
  const gauge = (page: Page) => page.locator('.gauge');
  /** Questions until the next one does not fit. */
  async function fill(page: Page): Promise<number> {
    for (let n = 1; ; n++) {
      await ask(page, `My dog number ${n} is called Max and lives in a red house beside the sea with Tom and Nora.`);
      await settled(page, n);
      if (await page.locator('.answer .problem').count()) return n;
    }
  }

  it('says how much is used, and goes on without the oldest turns when it is full', async () => {
    const page = await open();
    await answered(page, 'My dog is called Max.', 1);
    await expect.poll(() => gauge(page).textContent()).toMatch(/^\d+ of 256 tokens, \d+ left for the answer$/);
    await page.getByRole('button', { name: 'New chat', exact: true }).click();
    const n = await fill(page);
    await page.locator('.problem').getByText('The conversation no longer fits the model’s context.').waitFor();
    await page.getByRole('button', { name: 'Leave out the oldest' }).click();
    await page.getByText('Above is no longer sent').waitFor();
    await settled(page, n);
    await expect.poll(() => page.locator('.problem').count()).toBe(0);
    expect(await stones(page)).toHaveLength(n); // nothing is lost, it is only not sent
    await answered(page, 'What is the name of my dog?', n + 1);
    await page.reload();
    await settled(page, n + 1);
    await page.getByText('Above is no longer sent').waitFor();
    await page.getByRole('button', { name: 'Send everything again' }).click();
    expect(await page.getByText('Above is no longer sent').count()).toBe(0);
  });

  it('goes on with a summary, or in a new chat from there', async () => {
    const page = await open();
    const n = await fill(page);
    const last = (await stones(page)).at(-1);
    const asked = page.waitForRequest((r) => r.url().endsWith('/v1/chat/completions'));
    await page.getByRole('button', { name: 'Summarize the oldest' }).click();
    expect((await asked).postDataJSON().messages.at(-1).content).toContain('Summarize our conversation');
    await page.getByText('Above is sent as a summary:').waitFor();
    const summary = await page.locator('.cut .summary').textContent();
    expect(summary).toMatch(/\w{3}/);
    await settled(page, n);
    await expect.poll(() => page.locator('.problem').count()).toBe(0);
    await fill(page).catch(() => {});
    await page.getByRole('button', { name: 'New chat from here' }).first().click();
    await expect.poll(() => stones(page)).toHaveLength(1);
    expect(last).toBeDefined();
    await page.locator('.entry[data-open=true]', { hasText: 'continued' }).waitFor();
  });

  it('says that one message alone is too long, and what ended an answer', async () => {
    const page = await open({ maxTokens: null, stopLoops: false });
    await ask(page, 'word '.repeat(400));
    await page.getByText('This message alone is longer than the model’s context.').waitFor();
    await page.getByRole('button', { name: 'New chat', exact: true }).click();
    await context!.route('**/v1/responses', (route) =>
      route.continue({ postData: JSON.stringify({ ...route.request().postDataJSON(), ignore_eos: true }) }),
    );
    await answered(page, 'Who are you?', 1);
    await page.getByText('Cut off: the model’s context of 256 tokens is full.').waitFor();
  });

  /** A chat file of about so many tokens: prose, code, tables, formulas. */
  function longChat(tokens: number): string {
    const answer = [
      '# A title\n\nSome **bold** text with `code` and a [link](https://example.org). It goes on for a while, as answers do, with words.',
      '```python\ndef f(x):\n    return x ** 2  # a comment\n```',
      '| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |',
      '- one\n- two\n  - three\n\nSo $e^{i\\pi} + 1 = 0$ and $$\\int_0^1 x^2 dx = \\frac{1}{3}$$',
    ].join('\n\n');
    const turns: object[] = [];
    for (let i = 0, parent: string | null = null; i * 130 < tokens; i++) {
      turns.push({ id: `q${i}`, parent, role: 'user', text: `Question ${i}: why is it so?` });
      turns.push({
        id: `a${i}`,
        parent: `q${i}`,
        role: 'assistant',
        text: answer,
        status: 'done',
        finish: 'stop',
        calls: [],
        stats: { pieces: 1 },
      });
      parent = `a${i}`;
    }
    const leaf = (turns.at(-1) as { id: string }).id;
    return JSON.stringify({ format: 'turnstone-chats', version: 1, chats: [{ chat: { id: 'c', name: 'Long', leaf }, turns }] });
  }

  it('takes keys within 50 ms in a conversation of 10,000 tokens, draws its formulas and colours its code', async () => {
    const page = await open();
    await page
      .getByLabel('Import chats')
      .setInputFiles({ name: 'x.json', mimeType: 'application/json', buffer: Buffer.from(longChat(10_000)) });
    await settled(page, 77);
    await page.locator('.hljs-keyword').first().waitFor({ state: 'attached' });
    await page.locator('.formula math').first().waitFor({ state: 'attached' });
    expect(await page.locator('.formula math').count()).toBe(2 * (await answers(page).count()));
    await page.evaluate(IDLE);
    await page.evaluate(`
      delays = [];
      document.querySelector('textarea[aria-label=Message]').addEventListener('input', () => {
        const at = performance.now();
        requestAnimationFrame(() => { const c = new MessageChannel(); c.port1.onmessage = () => delays.push(performance.now() - at); c.port2.postMessage(0); });
      }, true);`);
    await box(page).focus();
    await page.keyboard.type(QUESTION, { delay: 30 });
    await expect.poll(() => page.evaluate('delays.length')).toBe(QUESTION.length);
    const delays = ((await page.evaluate('delays')) as number[]).sort((a, b) => a - b);
    const [median, p90] = [delays[delays.length >> 1], delays[Math.floor(delays.length * 0.9)]];
    console.log(`from a key to its frame, of ${delays.length}: median ${median.toFixed(1)} ms, 90 % within ${p90.toFixed(1)} ms`);
    expect(median).toBeLessThan(50);
  });

  it('is loaded within its budget', () => {
    const folder = join(ROOT, 'dist/web/assets');
    const zipped = (pattern: RegExp) =>
      readdirSync(folder)
        .filter((name) => pattern.test(name))
        .reduce((n, name) => n + gzipSync(readFileSync(join(folder, name)), { level: 9 }).length, 0);
    const sizes = { first: zipped(/^(index|base)-.*\.(js|css)$/), highlight: zipped(/^highlight-/), katex: zipped(/^katex-/) };
    console.log(`gzipped bytes: ${JSON.stringify(sizes)}`);
    for (const [name, bytes] of Object.entries(sizes)) {
      expect(bytes, name).toBeGreaterThan(1000);
      expect(bytes, name).toBeLessThan(BUDGET[name as keyof typeof BUDGET]);
    }
  });
});

/** What a right answer to each example holds. */
const RIGHT: Record<string, RegExp> = {
  Read: /\b14\b/,
  Extract: /^\{"name": "Nora Blake", "age": 34, "city": "Bergen"\}$/,
  Call: /^get_weather\(\{"city": ?"Bergen"\}\)$/,
  Reckon: /\b73\b/,
  Count: /\b4\b/,
  Reverse: /fig, pear, apple/,
};

describe.skipIf(missing)('the examples of an empty chat', () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  beforeAll(async () => {
    server = await startTestServer({});
  }, START);
  afterAll(() => server?.stop());

  async function asked({ prompt, tools }: Example, seed: number): Promise<string> {
    const body = { model: server.model, messages: [{ role: 'user', content: prompt }], seed, ...(tools && { tools: JSON.parse(tools) }) };
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const { message } = (
      (await response.json()) as {
        choices: { message: { content: string; tool_calls?: { function: { name: string; arguments: string } }[] } }[];
      }
    ).choices[0];
    const [call] = message.tool_calls ?? [];
    return call ? `${call.function.name}(${call.function.arguments})` : message.content;
  }

  it.each(PEBBLE.map((example) => [example.skill, example] as const))(
    '%s: right twenty times of twenty, as the model samples by itself',
    async (skill, example) => {
      if (server.model !== 'pebble') return;
      const wrong = (await Promise.all(Array.from({ length: 20 }, (_, i) => asked(example, 1000 + i)))).filter(
        (text) => !RIGHT[skill].test(text.trim()),
      );
      expect(wrong).toEqual([]);
    },
  );
});
