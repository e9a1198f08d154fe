import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vite';

const here = fileURLToPath(new URL('.', import.meta.url));
const api = process.env.TURNSTONE_URL ?? 'http://127.0.0.1:8787';

/** The WebGPU kernels go into the bundle without their comments and indentation, a third of their text. */
const shaders: Plugin = {
  name: 'shaders',
  enforce: 'pre',
  load(id) {
    const [file, query] = id.split('?');
    if (!file.endsWith('.wgsl') || query !== 'raw') return undefined;
    const lines = readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.replace(/\/\/.*/, '').trim());
    return `export default ${JSON.stringify(lines.filter((line) => line !== '').join('\n'))}`;
  },
};

/** The chat page: static assets in `dist/web`, nothing inlined, so that a strict Content-Security-Policy holds. */
export default defineConfig({
  root: here,
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  // two dialects have 25 KB of words of their own: they are coloured as the language that each extends
  resolve: {
    alias: {
      'highlight.js/lib/languages/arduino': 'highlight.js/lib/languages/cpp',
      'highlight.js/lib/languages/less': 'highlight.js/lib/languages/css',
    },
  },
  worker: { format: 'es', plugins: () => [shaders] },
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
