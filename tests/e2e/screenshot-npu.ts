/** Takes `docs/npu/page.png`: the accelerator's page after a prompt. `npx tsx tests/e2e/screenshot-npu.ts` */
import { startServer } from '../../cli/start.ts';
import { launchBrowser } from './browser.ts';

const server = await startServer({ port: 0, npu: 'npu', say: console.log, vars: { NPU_WAIT_MS: '60000' } });
const browser = await launchBrowser();
try {
  const prompt = Array.from({ length: 1500 }, (_, i) => 300 + ((i * i * 7 + i * 13) % 3000));
  const body = JSON.stringify({ model: server.pack.id, prompt, max_tokens: 4, cache_salt: String(Date.now()) });
  const r = await fetch(`${server.url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  console.log(r.headers.get('x-turnstone-route'), (await r.text()).length);
  const page = await browser.newPage({ viewport: { width: 1100, height: 900 }, deviceScaleFactor: 1.5, colorScheme: 'light' });
  await page.goto(`${server.url}/npu`);
  await page.getByRole('img', { name: 'Timeline' }).waitFor();
  await page.screenshot({ path: 'docs/npu/page.png', fullPage: true });
} finally {
  await browser.close();
  await server.stop();
}
