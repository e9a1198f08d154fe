/** A module and all it imports as one, for Miniflare. */

import { build } from 'vite';

export async function bundle(file: URL): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: 'silent',
    ssr: { noExternal: true },
    build: {
      ssr: file.pathname,
      write: false,
      target: 'esnext',
      rollupOptions: { external: ['cloudflare:workers'], output: { format: 'es' } },
    },
  });
  if (!('output' in result)) throw new Error('vite built no output');
  return result.output[0].code;
}
