/** The chat page as a reader sees it: what the page's tests share. */
import type { Browser, BrowserContext, BrowserContextOptions, Page, Route } from 'playwright-core';

export interface Opened {
  context: BrowserContext;
  page: Page;
  /** What the browser complained of, and what it asked of anybody else. */
  faults: string[];
}

/** Complaints about a page, as they come. */
export function watch(page: Page, url: string, faults: string[]): Page {
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== new URL(url).origin && protocol !== 'blob:') faults.push(`request to ${request.url()}`);
  });
  return page;
}

/** The page in a context of its own. `settings` are kept over reloads. */
export async function openPage(browser: Browser, url: string, settings: object = {}, options: BrowserContextOptions = {}): Promise<Opened> {
  const context = await browser.newContext(options);
  await context.addInitScript(`localStorage['turnstone.settings.1'] ??= ${JSON.stringify(JSON.stringify(settings))}`);
  const faults: string[] = [];
  const page = watch(await context.newPage(), url, faults);
  await page.goto(url);
  return { context, page, faults };
}

export const box = (page: Page) => page.getByRole('textbox', { name: 'Message', exact: true });
export const answers = (page: Page) => page.getByRole('article', { name: 'Answer' });
export const ready = (page: Page) => page.locator('.server[data-state=ready]').waitFor();
export const settled = (page: Page, count: number) =>
  page
    .locator('.answer[data-live=false]')
    .nth(count - 1)
    .waitFor();
export const proses = (page: Page) => page.locator('.answer .prose').allTextContents();
export const stones = (page: Page) => page.locator('.stone').allTextContents();
export const region = (page: Page) => page.getByRole('region', { name: 'Conversation' });

export async function ask(page: Page, text: string): Promise<void> {
  await box(page).focus();
  await page.keyboard.insertText(text);
  await page.keyboard.press('Enter');
}

/** Asks, and gives the answer's text. */
export async function answered(page: Page, text: string, count: number): Promise<string> {
  await ask(page, text);
  await settled(page, count);
  return (
    (await answers(page)
      .nth(count - 1)
      .locator('.prose')
      .first()
      .textContent()) ?? ''
  );
}

const change = (more: object) => (route: Route) => {
  const request = route.request();
  return request.method() === 'POST'
    ? route.continue({ postData: JSON.stringify({ ...request.postDataJSON(), ...more }) })
    : route.continue();
};
/** Answers go on until their limit, whatever the model would do: something to watch and to stop. */
export async function endless(context: BrowserContext, more: object = {}): Promise<void> {
  for (const path of ['**/v1/responses', '**/v1/chat/completions']) await context.route(path, change({ ignore_eos: true, ...more }));
}

/** Waits until the last answer has so many characters and is still being written. */
export const growing = (page: Page, characters: number) =>
  page.waitForFunction((n) => (document.querySelector('.answer[data-live=true] .prose')?.textContent?.length ?? 0) >= n, characters, {
    polling: 10,
  });

/** The name under which the server keeps an answer of this browser, once the page has written it down. */
export const keptId = (page: Page): Promise<string> =>
  page.evaluate(
    () =>
      new Promise<string>((resolve) => {
        const opening = indexedDB.open('turnstone');
        opening.onsuccess = () => {
          const all = opening.result.transaction('turns').objectStore('turns').getAll();
          all.onsuccess = () => {
            opening.result.close();
            resolve(all.result.map((record) => record.turn.kept?.id).find(Boolean) ?? '');
          };
        };
      }),
  );
