// The command line and the engine as the published package has them: compiled into bin/, beside what `turnstone build` made. Runs before `npm pack`.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { compile } from './compile.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
rmSync(`${root}bin`, { recursive: true, force: true });
const { packages, bundled } = compile();
rmSync(`${root}bin/inputs.json`);
// the engine for a page, and what a client is helped with: a file each without imports, which any bundler or none may serve
await build({
  absWorkingDir: root,
  entryPoints: { 'engine-browser': 'library/browser.ts', client: 'library/client.ts' },
  outdir: 'bin',
  ...{ bundle: true, format: 'esm', platform: 'browser', target: 'es2022', minifySyntax: true },
});
// what the package is made of, by npm's own tool: CycloneDX. Of what tests and builds alone need nothing is kept, but what is bundled; `--omit dev` would
// leave out also what both need.
const sbom = ['sbom', '--sbom-format', 'cyclonedx', '--sbom-type', 'application', '--package-lock-only'];
const bom = JSON.parse(execFileSync('npm', sbom, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 }));
const lock = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')).packages;
const shipped = new Set(
  Object.entries(lock).flatMap(([path, p]) =>
    (p.dev || p.devOptional) && !bundled.some((name) => path === `node_modules/${name}`)
      ? []
      : [`${path.split('node_modules/').at(-1)}@${p.version}`],
  ),
);
bom.components = bom.components.filter((c) => shipped.has(`${c.name}@${c.version}`));
const kept = new Set([bom.metadata.component['bom-ref'], ...bom.components.map((c) => c['bom-ref'])]);
bom.dependencies = bom.dependencies.flatMap((d) =>
  kept.has(d.ref) ? [{ ...d, dependsOn: d.dependsOn?.filter((ref) => kept.has(ref)) }] : [],
);
bom.metadata.component.name = 'turnstone'; // npm takes the folder's name
writeFileSync(`${root}bin/sbom.cdx.json`, JSON.stringify(bom, null, 2));
console.log(`bin: ${readdirSync(`${root}bin`).length} files; packages: ${packages.join(', ')}; bundled: ${bundled.join(', ')}`);
