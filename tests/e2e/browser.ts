import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const USUAL = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

const path = process.env.CHROMIUM ?? USUAL.find(existsSync);

/** Why there is no browser to test with, or undefined. With `REQUIRE_BROWSER=1` the tests run, and fail, nevertheless. */
export const noBrowser: string | undefined =
  process.env.REQUIRE_BROWSER === '1' || (path && existsSync(path))
    ? undefined
    : path
      ? `CHROMIUM=${path} does not exist`
      : 'no Chromium found: install one (Debian: apt-get install chromium) or set CHROMIUM to its path';

if (noBrowser) console.warn(`page tests skipped: ${noBrowser}`);

/** A headless Chromium that talks to nobody by itself. */
export async function launchBrowser(): Promise<Browser> {
  if (!path) throw new Error('REQUIRE_BROWSER=1, but no Chromium was found; set CHROMIUM to its path');
  return chromium.launch({
    executablePath: path,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
