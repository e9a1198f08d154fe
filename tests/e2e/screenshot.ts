/**
 * Takes `docs/chat.png`: the shipped model in a conversation, at temperature 0.
 * `npx tsx tests/e2e/screenshot.ts [question ...]`; MODEL names another model.
 */
import { startServer } from '../../cli/start.ts';
import { launchBrowser } from './browser.ts';

const QUESTIONS = [
  'Nora Blake works as a teacher in Bergen. It was a cold day. Her friend Tom found 14 shells on the beach. How many shells did Tom find?',
  'Tom gives 6 of his 14 shells to Nora. How many shells does Tom have left?',
  'Sort these words from A to Z: tide, gull, pebble, anchor, shore',
];

async function main(questions: string[]): Promise<void> {
  const server = await startServer({ port: 0, model: process.env.MODEL, say: console.log });
  const browser = await launchBrowser();
  try {
    const page = await browser.newPage({ viewport: { width: 1040, height: 720 }, deviceScaleFactor: 1.5, colorScheme: 'light' });
    await page.addInitScript(`localStorage['turnstone.settings.1'] = '{"temperature":0}'`);
    await page.goto(server.url);
    await page.locator('.server[data-state=ready]').waitFor();
    for (const [i, question] of questions.entries()) {
      await page.getByRole('textbox', { name: 'Message', exact: true }).fill(question);
      await page.keyboard.press('Enter');
      await page.locator('.answer[data-live=false]').nth(i).waitFor();
      console.log(`${question}\n→ ${await page.locator('.answer').nth(i).textContent()}`);
    }
    await page.mouse.move(0, 0);
    await page.waitForTimeout(300);
    await page.screenshot({ path: 'docs/chat.png' });
  } finally {
    await browser.close();
    await server.stop();
  }
}

await main(process.argv.length > 2 ? process.argv.slice(2) : QUESTIONS);
