import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const here = fileURLToPath(new URL('.', import.meta.url));
const api = process.env.TURNSTONE_URL ?? 'http://127.0.0.1:8787';

/** The chat page: static assets in `dist/web`, nothing inlined, so that a strict Content-Security-Policy holds. */
export default defineConfig({
  root: here,
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  worker: { format: 'es' },
  build: {
    rolldownOptions: { input: ['index.html', 'npu.html'].map((page) => `${here}${page}`) }, // the chat, and what the accelerator did
    outDir: '../dist/web',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: { proxy: { '/v1': api, '/health': api, '/ready': api, '/packs': api } },
});
