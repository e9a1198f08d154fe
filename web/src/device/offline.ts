/** The page without a network: a service worker answers for its own files, which are few and named here by themselves. */

export const PAGE_CACHE = 'turnstone-page';

/** A URL that scripts may be loaded from, where the page's policy asks for it to be said. */
export function scriptUrl(url: string): string {
  const { trustedTypes } = globalThis as {
    trustedTypes?: {
      createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
    };
  };
  const own = new URL(url, location.href);
  if (own.origin !== location.origin) throw new Error(`${url} is not this page's own`);
  policy ??= trustedTypes?.createPolicy('turnstone', { createScriptURL: (u) => u });
  return policy ? policy.createScriptURL(own.href) : own.href;
}
let policy: { createScriptURL(url: string): string } | undefined;

/** Keeps the page and everything it has loaded, for opening it without a network. */
export async function keepPage(more: string[]): Promise<void> {
  if (!navigator.serviceWorker) return;
  await navigator.serviceWorker.register(scriptUrl('/sw.js'));
  // what is loaded when it is first needed may be needed without a network
  await Promise.allSettled([import('../markdown/highlight.ts'), import('katex')]);
  const loaded = performance
    .getEntriesByType('resource')
    .map((entry) => new URL(entry.name))
    .filter((url) => url.origin === location.origin && url.pathname.startsWith('/assets/'))
    .map((url) => url.pathname);
  const cache = await caches.open(PAGE_CACHE);
  await cache.addAll([...new Set(['/', '/mark.svg', ...loaded, ...more])]);
}

/** Forgets it. */
export async function forgetPage(): Promise<void> {
  await caches.delete(PAGE_CACHE);
  for (const registration of (await navigator.serviceWorker?.getRegistrations()) ?? []) await registration.unregister();
}
