// Installs the dependencies when they are missing or older than the lock file. Plain JavaScript: it runs before anything is installed.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [major] = process.versions.node.split('.').map(Number);
if (major < 20) {
  console.error(`Turnstone needs Node 20 or newer; this is ${process.version}.`);
  process.exit(1);
}
const root = fileURLToPath(new URL('..', import.meta.url));
const lock = `${root}package-lock.json`;
const done = `${root}node_modules/.package-lock.json`;
if (!existsSync(done) || statSync(done).mtimeMs < statSync(lock).mtimeMs) {
  console.log('Installing dependencies (npm ci) …');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const r = spawnSync(npm, ['ci', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (r.status !== 0) {
    console.error('npm ci failed; see its message above. Is the npm registry reachable?');
    process.exit(r.status ?? 1);
  }
}
