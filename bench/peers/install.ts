/** Installs what Turnstone is compared with, when it is not there: bench/peers has a package.json of its own, the project does not depend on it. */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';

export const PEERS = join(ROOT, 'bench/peers');

/** Throws with npm's exit code when the registry cannot be reached. */
export function installPeers(say: (line: string) => void): void {
  const lock = join(PEERS, 'package-lock.json');
  const done = join(PEERS, 'node_modules/.package-lock.json');
  if (existsSync(done) && statSync(done).mtimeMs >= statSync(lock).mtimeMs) return;
  say('Installing what Turnstone is compared with (npm install in bench/peers) …');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  // not ci: it refuses the lock file where a registry lacks one of node-llama-cpp's builds for other machines
  const args = ['install', '--ignore-scripts', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  const r = spawnSync(npm, args, { cwd: PEERS, stdio: ['ignore', 'ignore', 'inherit'], shell: process.platform === 'win32' });
  if (r.status !== 0) throw new Error(`npm install in bench/peers ended with ${r.status}. Is the npm registry reachable?`);
}
