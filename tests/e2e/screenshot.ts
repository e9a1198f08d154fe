/**
 * Takes `docs/chat.png`: the shipped model in real conversations, at temperature 0. A picture with a wrong answer is not taken.
 * `npx tsx tests/e2e/screenshot.ts`
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '../../cli/start.ts';
import { PEBBLE } from '../../web/src/examples.ts';
import { launchBrowser } from './browser.ts';
import { answered, answers, openPage, ready, settled } from './page-parts.ts';

const example = (skill: string) => PEBBLE.find((e) => e.skill === skill)!.prompt;

/** Chats, the one that is shown last; each question with what a right answer holds. */
const CHATS: [question: string, right: RegExp][][] = [
  [['How many items are in this list: apple, pear, fig, plum?', /\b4\b/]],
  [[example('Extract'), /"name": "Nora Blake", "age": 34, "city": "Bergen"/]],
  [['Who are you?', /Pebble/]],
  [
    ['Hello! My dog is called Max.', /\w/],
    ['What is the name of my dog?', /\bMax\b/],
    [example('Reckon'), /\b73\b/],
  ],
];

const folder = mkdtempSync(join(tmpdir(), 'turnstone-picture-'));
const server = await startServer({ port: 0, persist: folder, say: console.log });
const browser = await launchBrowser();
try {
  const { page } = await openPage(
    browser,
    server.url,
    { temperature: 0 },
    {
      ...{ viewport: { width: 1180, height: 720 }, deviceScaleFactor: 1.5, colorScheme: 'light' },
    },
  );
  await ready(page);
  for (const [n, chat] of CHATS.entries()) {
    if (n > 0) await page.getByRole('button', { name: 'New chat', exact: true }).click();
    for (const [i, [question, right]] of chat.entries()) {
      await answered(page, question, i + 1);
      await settled(page, i + 1);
      const answer = (await answers(page).nth(i).locator('.prose').textContent()) ?? '';
      console.log(`${question}\n→ ${answer}`);
      if (!right.test(answer)) throw new Error('that is wrong: no picture of it');
    }
  }
  await page.mouse.move(0, 0);
  await page.waitForTimeout(700);
  await page.screenshot({ path: 'docs/chat.png' });
} finally {
  await browser.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
