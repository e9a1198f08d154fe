// The command line as the published package has it: compiled into bin/, beside what `turnstone build` made. Runs before `npm pack`.
import { readdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
rmSync(`${root}bin`, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['cli/index.ts'],
  outdir: 'bin',
  ...{ bundle: true, splitting: true, format: 'esm', platform: 'node', target: 'node20', packages: 'external' },
  metafile: true,
});
const used = new Set(Object.values(metafile.outputs).flatMap((o) => o.imports.filter((i) => i.external).map((i) => i.path)));
console.log(`bin: ${readdirSync(`${root}bin`).length} files; packages: ${[...used].filter((n) => !n.startsWith('node:')).join(', ')}`);
