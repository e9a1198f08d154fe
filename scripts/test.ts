/** `npm test`: checks, then tests in Node, inside workerd, and over HTTP and in a browser. One closing line; non-zero when anything failed. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build, ROOT } from '../cli/build.ts';

const node = process.execPath;
const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
const report = (name: string) => join(ROOT, '.build', `tests-${name}.json`);
const suite = (name: string, ...args: string[]) => ({
  name,
  command: [node, vitest, 'run', ...args, '--reporter=default', '--reporter=json', `--outputFile.json=${report(name)}`],
});

/** Tests over real servers are tried again when they fail; that may hide a fault, so more than one of them fails the gate. */
const RETRIES = join(ROOT, '.build/tests-retries.json');
const MOST_RETRIES = 1;

const only = process.argv.slice(2);
const suites = [
  suite('node', '--project', 'node'),
  suite('workerd', '--config', 'vitest.workerd.config.ts'),
  suite('e2e', '--project', 'e2e', '--reporter', join(ROOT, 'scripts/retries.ts')), // by itself: servers are timed
  { name: 'python', command: [node, '--import', 'tsx', join(ROOT, 'scripts/python.ts')] },
].filter((s) => only.length === 0 || only.includes(s.name));

await build((line) => console.log(line));
mkdirSync(join(ROOT, '.build'), { recursive: true });
rmSync(RETRIES, { force: true });
let failed = 0;
const total = { passed: 0, failed: 0, skipped: 0 };
if (only.length === 0 || only.includes('check')) failed += run('check', [node, '--import', 'tsx', join(ROOT, 'scripts/check.ts')]);
for (const s of suites) {
  rmSync(report(s.name), { force: true });
  failed += run(s.name, s.command);
  if (!existsSync(report(s.name))) continue; // it did not get that far, and has failed
  const r = JSON.parse(readFileSync(report(s.name), 'utf8')) as { numPassedTests: number; numFailedTests: number; numPendingTests: number };
  total.passed += r.numPassedTests;
  total.failed += r.numFailedTests;
  total.skipped += r.numPendingTests;
}
const retried = existsSync(RETRIES) ? (JSON.parse(readFileSync(RETRIES, 'utf8')) as { test: string; times: number; why: string }[]) : [];
for (const r of retried) console.log(`tried again ${r.times} time${r.times > 1 ? 's' : ''}: ${r.test}: ${r.why}`);
const retries = retried.reduce((n, r) => n + r.times, 0);
if (retries > MOST_RETRIES) {
  console.log(`${retries} tries again are more than ${MOST_RETRIES}: something fails now and then`);
  failed++;
}
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(failed > 0 ? 1 : 0);

/** 1 when the command failed. */
function run(name: string, [file, ...args]: string[]): number {
  console.log(`\n── ${name} ──`);
  const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false', RETRIES };
  const r = spawnSync(file, args, { cwd: ROOT, stdio: 'inherit', env });
  return r.status === 0 ? 0 : 1;
}
