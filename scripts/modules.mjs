// The runner's own small Workers (cli/workerd/modules) as JavaScript in .build/modules, as workerd takes them.
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

buildSync({
  absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
  entryPoints: ['site', 'remote', 'control'].map((name) => `cli/workerd/modules/${name}.ts`),
  outdir: '.build/modules',
  ...{ bundle: true, format: 'esm', target: 'es2022', external: ['cloudflare:*'] },
});
