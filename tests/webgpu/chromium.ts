/** Headless Chromium with WebGPU on its software adapter (SwiftShader), and pages bundled for it. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { build, type Rolldown } from 'vite';

const USUAL = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const path = process.env.CHROMIUM ?? USUAL.find((file) => existsSync(file));

/** Why there is no browser, or undefined. */
export const noChromium: string | undefined =
  path && existsSync(path) ? undefined : 'no Chromium found: install one (Debian: apt-get install chromium) or set CHROMIUM to its path';

export async function launchChromium(): Promise<Browser> {
  if (!path) throw new Error(noChromium);
  return chromium.launch({
    executablePath: path,
    args: ['--headless', '--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--disable-background-networking'],
  });
}

/** One of this folder's files as a page of a secure origin. */
export async function openPage(browser: Browser, entry: string): Promise<Page> {
  const result = (await build({
    configFile: false,
    logLevel: 'warn',
    root: fileURLToPath(new URL('../..', import.meta.url)),
    build: { write: false, target: 'es2022', minify: false, rollupOptions: { input: fileURLToPath(new URL(entry, import.meta.url)) } },
  })) as Rolldown.RolldownOutput;
  const code = result.output.find((o): o is Rolldown.OutputChunk => o.type === 'chunk' && o.isEntry)?.code;
  const page = await browser.newPage();
  await page.route('http://127.0.0.1:9/**', (route) =>
    route.request().url().endsWith('.js')
      ? route.fulfill({ contentType: 'text/javascript', body: code })
      : route.fulfill({ contentType: 'text/html', body: '<!doctype html><script type="module" src="/page.js"></script>' }),
  );
  page.on('pageerror', (error) => console.error(error));
  await page.goto('http://127.0.0.1:9/');
  await page.waitForFunction('window.api !== undefined');
  return page;
}
