/** `npx tsx scripts/integrations.ts URL`: installs what the programs of docs/integrations.md name and runs each against that server. Needs npm's registry. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { ROOT } from '../cli/build.ts';

const url = process.argv[2] ?? 'http://127.0.0.1:8787';
const page = readFileSync(join(ROOT, 'docs/integrations.md'), 'utf8');
const programs = [...page.matchAll(/^## (.*?)\n.*?^```ts\n(.*?)^```/gms)].map(([, name, code]) => ({ name, code }));
const packages = programs.flatMap(({ code }) => [...code.matchAll(/\/\/ (\S+@\d\S*)$/gm)].map(([, name]) => name));
const folder = mkdtempSync(join(tmpdir(), 'turnstone-examples-'));
try {
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  console.log(`npm install ${packages.join(' ')}`);
  execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', ...packages], {
    cwd: folder,
    stdio: 'inherit',
  });
  for (const { name, code } of programs) {
    console.log(`\n== ${name}`);
    writeFileSync(join(folder, 'program.ts'), code.replaceAll('http://127.0.0.1:8787', url));
    buildSync({ absWorkingDir: folder, entryPoints: ['program.ts'], outfile: join(folder, 'program.js'), format: 'esm', target: 'node20' });
    execFileSync(process.execPath, ['program.js'], { cwd: folder, stdio: 'inherit' });
  }
  console.log();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
