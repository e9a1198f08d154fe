/**
 * From nothing to the first token of a model by its name, on a fresh clone, against a hub on this machine that has the file: by the command
 * line, and from the page, of which it takes `docs/models/pull.png` and `docs/models/brought.png`. `npx tsx tests/e2e/from-nothing.ts`
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeMachine, machine } from '../../bench/machine.ts';
import { realModel } from '../../bench/real-models.ts';
import { ROOT } from '../../cli/build.ts';
import { CATALOGUE } from '../../cli/hub/names.ts';
import { hubServer } from '../hub/server.ts';
import { launchBrowser } from './browser.ts';
import { environment } from './launcher.ts';
import { answers, ask, openPage, ready, settled } from './page-parts.ts';

const { path, missing } = realModel('smollm2');
if (missing) throw new Error(missing);
const QUESTION = 'What is the capital of France?';
const folder = mkdtempSync(join(tmpdir(), 'turnstone-nothing-'));
const clone = join(folder, 'clone');
const hub = await hubServer({ [CATALOGUE.smollm2.repo]: { files: { [CATALOGUE.smollm2.pick]: new Uint8Array(readFileSync(path)) } } });
const seconds = (since: number) => ((performance.now() - since) / 1000).toFixed(1);

/** `npm start` in the clone, with models of its own. Resolves when it says that it serves. */
async function start(cache: string, ...args: string[]): Promise<{ url: string; stop(): Promise<unknown> }> {
  const vars = { HF_ENDPOINT: hub.url, TURNSTONE_CACHE: join(folder, cache), STORAGE: join(folder, `${cache}-state`) };
  const child = spawn('npm', ['start', '--', ...args], { cwd: clone, env: environment(vars), stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'exit');
  let said = '';
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (d) => {
        said += d;
        const found = /serves .* at (\S+)/.exec(said)?.[1];
        if (found && said.includes('Ctrl-C stops it')) resolve(found);
      });
    }
    child.once('exit', () => reject(new Error(said)));
  });
  const stop = () => {
    child.kill('SIGTERM');
    return ended;
  };
  return { url, stop };
}

try {
  console.log(describeMachine(machine()));
  execFileSync('git', ['clone', '--quiet', '--depth', '1', `file://${ROOT}`, clone]);
  const began = performance.now();
  const first = await start('first', 'smollm2');
  console.log(`npm start -- smollm2 on a fresh clone: serves after ${seconds(began)} s`);
  const body = JSON.stringify({
    model: 'smollm2',
    stream: true,
    temperature: 0,
    max_tokens: 12,
    messages: [{ role: 'user', content: QUESTION }],
  });
  const r = await fetch(`${first.url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  let text = '';
  for await (const chunk of r.body as unknown as AsyncIterable<Uint8Array>) {
    text += new TextDecoder().decode(chunk);
    if (!/"content":"[^"]/.test(text)) continue;
    console.log(`its first token: after ${seconds(began)} s`);
    break;
  }
  await first.stop();

  const second = await start('second');
  const browser = await launchBrowser();
  try {
    const look = { viewport: { width: 1000, height: 680 }, colorScheme: 'light' } as const;
    const { page } = await openPage(browser, second.url, { temperature: 0, maxTokens: 24 }, look);
    page.setDefaultTimeout(120_000);
    await ready(page);
    const get = page.getByRole('button', { name: 'Get smollm2', exact: true });
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByText('Get more models').click();
    hub.faults.slow = 1_500; // for the picture alone
    await get.click();
    await page.getByText(/[1-9]\d* of \d+ MB$/).waitFor();
    await page.screenshot({ path: join(ROOT, 'docs/models/pull.png') });
    await page.getByRole('button', { name: 'Cancel smollm2' }).click();
    hub.faults.slow = 0;
    await get.waitFor();
    const clicked = performance.now();
    await get.click();
    const picker = page.getByRole('banner').getByLabel('Model');
    await picker.locator('option[value=smollm2]').waitFor({ state: 'attached' });
    console.log(`from the page, the rest of a pull that was cancelled: here after ${seconds(clicked)} s`);
    await page.getByRole('button', { name: 'Close settings' }).click();
    await picker.selectOption('smollm2');
    const asked = performance.now();
    await ask(page, QUESTION);
    await answers(page).first().locator('.prose').filter({ hasText: /\w/ }).waitFor();
    console.log(`asked of the page, it is packed, loaded and says its first token after ${seconds(asked)} s`);
    await settled(page, 1);
    await page.mouse.move(0, 0);
    await page.screenshot({ path: join(ROOT, 'docs/models/brought.png') });
  } finally {
    await browser.close();
    await second.stop();
  }
} finally {
  await hub.close();
  rmSync(folder, { recursive: true, force: true });
}
