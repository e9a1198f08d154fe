// Answers for the page's own files when there is no network. Registered when the reader turns on "run on this device".
const CACHE = 'turnstone-page';
const FILES = new Set(['/', '/mark.svg', '/manifest.webmanifest', '/icon-192.png', '/icon-512.png']);
const own = (url) => url.origin === location.origin && (FILES.has(url.pathname) || url.pathname.startsWith('/assets/'));

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || !own(url)) return;
  event.respondWith(url.pathname.startsWith('/assets/') ? fromCache(event.request) : fromNetwork(event.request));
});

// Files under /assets carry the hash of their content: what is kept is right.
async function fromCache(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok) await cache.put(request, response.clone());
  return response;
}

async function fromNetwork(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(request);
    if (kept) return kept;
    throw error;
  }
}
