/**
 * Takes `docs/stages-chat.png`: Qwen2.5-Coder-0.5B-Instruct, which no isolate of 128 MB holds, in stages of 128 MB on the chat page, at temperature 0. A picture
 * with a wrong answer is not taken. The model is no part of the project. `npx tsx tests/e2e/screenshot-stages.ts`
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realModel } from '../../bench/real-models.ts';
import { startServer } from '../../cli/start.ts';
import { launchBrowser } from './browser.ts';
import { answered, openPage, ready } from './page-parts.ts';

/** A right answer's part. */
const CHAT: [question: string, right: RegExp][] = [
  ['Write a Python function that reverses a string. Only the code.', /\[::-1\]/],
  ['And one in JavaScript?', /split\(["']{2}\)\.reverse\(\)\.join\(["']{2}\)/],
];

const { path, missing } = realModel('qwen-coder');
if (missing) throw new Error(missing);
const folder = mkdtempSync(join(tmpdir(), 'turnstone-picture-'));
const server = await startServer({ port: 0, model: path, persist: folder, say: console.log });
const browser = await launchBrowser();
try {
  await server.whole;
  if (!server.stages) throw new Error('the model is not in stages: MEMORY_MB is set');
  const { page } = await openPage(
    browser,
    server.url,
    { temperature: 0 },
    { viewport: { width: 1100, height: 760 }, deviceScaleFactor: 1, colorScheme: 'light' },
  );
  page.setDefaultTimeout(300_000);
  await ready(page);
  for (const [i, [question, right]] of CHAT.entries()) {
    const answer = await answered(page, question, i + 1);
    console.log(`${question}\n→ ${answer}`);
    if (!right.test(answer)) throw new Error('that is wrong: no picture of it');
  }
  await page.mouse.move(0, 0);
  await page.waitForTimeout(700);
  await page.screenshot({ path: 'docs/stages-chat.png' });
} finally {
  await browser.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
