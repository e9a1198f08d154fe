/**
 * Takes `docs/chat.png`: the shipped model in a conversation, at temperature 0.
 * `npx tsx tests/e2e/screenshot.ts [question ...]`; MODEL names another model.
 */
import { startServer } from '../../cli/start.ts';
import { launchBrowser } from './browser.ts';

const QUESTIONS = [
  'Hello! My name is Clara. My dog is called Max.',
  'Tom has 34 shells. Nora gives Tom 28 more. How many shells does Tom have now?',
  'Sort these words from A to Z: tide, gull, anchor, shore',
  'What is the name of my dog?',
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
