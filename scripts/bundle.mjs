// The command line and the engine as the published package has them: compiled into bin/, beside what `turnstone build` made. Runs before `npm pack`.
import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { compile } from './compile.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
rmSync(`${root}bin`, { recursive: true, force: true });
const packages = compile();
rmSync(`${root}bin/inputs.json`);
// the engine for a page: one file without imports, which any bundler or none may serve
await build({
  absWorkingDir: root,
  entryPoints: { 'engine-browser': 'library/browser.ts' },
  outdir: 'bin',
  ...{ bundle: true, format: 'esm', platform: 'browser', target: 'es2022', minifySyntax: true },
});
// what the package is made of, by npm's own tool: CycloneDX
const omit = ['--omit', 'dev', '--omit', 'optional'];
const sbom = ['sbom', '--sbom-format', 'cyclonedx', '--sbom-type', 'application', '--package-lock-only', ...omit];
writeFileSync(`${root}bin/sbom.cdx.json`, execFileSync('npm', sbom, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 }));
console.log(`bin: ${readdirSync(`${root}bin`).length} files; packages: ${packages.join(', ')}`);
