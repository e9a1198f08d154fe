/** The clients of examples/clients, which has a package.json of its own: the project does not depend on them. */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../../cli/build.ts';

const FOLDER = join(ROOT, 'examples/clients');

/** Installs them, when they are not there. Why they could not be, or null. */
export function installClients(): string | null {
  const lock = join(FOLDER, 'package-lock.json');
  const done = join(FOLDER, 'node_modules/.package-lock.json');
  if (existsSync(done) && statSync(done).mtimeMs >= statSync(lock).mtimeMs) return null;
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--prefer-offline', '--fetch-retries=1'];
  const { status } = spawnSync('npm', ['ci', ...quiet], { cwd: FOLDER, stdio: 'ignore', timeout: 240_000 });
  return status === 0 ? null : 'npm ci in examples/clients failed; is the npm registry reachable?';
}

/** Runs them all against a server; the rows of docs/clients.md that come out, also of those that fail. */
export async function runClients(url: string, model: string, key: string): Promise<string[]> {
  const env = { ...process.env, TURNSTONE_KEY: key };
  const { stdout } = await promisify(execFile)(process.execPath, ['clients.mjs', url, model], { cwd: FOLDER, env }).catch(
    (failed: { stdout: string }) => failed,
  );
  return stdout.split('\n').filter((line) => /^\| \S+ \d/.test(line));
}
