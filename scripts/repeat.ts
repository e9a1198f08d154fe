/**
 * `npm run repeat -- [TIMES] [vitest's arguments …]`: are the tests green by chance? Runs them again and again (the node project unless
 * told otherwise) beside a program that spins, and prints a table. `.build/repeat.json` has each run; the same command goes on from
 * there until there are TIMES of this commit. Non-zero when one was not green.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, ROOT } from '../cli/build.ts';

interface Run {
  commit: string;
  args: string[];
  began: string;
  seconds: number;
  passed: number;
  skipped: number;
  /** Names of those that failed; one entry for a run that did not get so far. */
  failed: string[];
}
interface Report {
  numPassedTests: number;
  numPendingTests: number;
  testResults: { name: string; assertionResults: { status: string; fullName: string }[] }[];
}

const FILE = join(ROOT, '.build/repeat.json');
const REPORT = join(ROOT, '.build/repeat-run.json');
const [first = '', ...rest] = process.argv.slice(2);
const given = /^\d+$/.test(first);
const times = given ? Number(first) : 20;
const more = given ? rest : process.argv.slice(2);
const args = more.length > 0 ? more : ['--project', 'node'];

await build((line) => console.log(line));
mkdirSync(join(ROOT, '.build'), { recursive: true });
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim();
const all: Run[] = existsSync(FILE) ? (JSON.parse(readFileSync(FILE, 'utf8')) as Run[]) : [];
const mine = (): Run[] => all.filter((r) => r.commit === commit && r.args.join(' ') === args.join(' '));

const spinning = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });
process.once('exit', () => spinning.kill('SIGKILL'));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

while (mine().length < times) {
  const run = await once();
  all.push(run);
  writeFileSync(FILE, JSON.stringify(all, null, 1));
  const said = run.failed.length === 0 ? 'green' : `${run.failed.length} failed: ${run.failed.join('; ')}`;
  console.log(`${String(mine().length).padStart(3)} of ${times}  ${run.seconds.toFixed(0)} s  ${said}`);
}

const runs = mine();
const green = runs.filter((r) => r.failed.length === 0).length;
const seconds = runs.map((r) => r.seconds).sort((a, b) => a - b);
const counts = new Map<string, number>();
for (const name of runs.flatMap((r) => r.failed)) counts.set(name, (counts.get(name) ?? 0) + 1);
console.log(`\nvitest run ${args.join(' ')}, beside a program that spins, at ${commit}`);
console.log('| runs | green | tests passed | skipped | shortest | longest |\n|---:|---:|---:|---:|---:|---:|');
const last = runs.at(-1);
console.log(
  `| ${runs.length} | ${green} | ${last?.passed} | ${last?.skipped} | ${seconds[0]?.toFixed(0)} s | ${seconds.at(-1)?.toFixed(0)} s |`,
);
for (const [name, n] of [...counts].sort((a, b) => b[1] - a[1])) console.log(`failed ${n} of ${runs.length}: ${name}`);
process.exit(green === runs.length ? 0 : 1);

async function once(): Promise<Run> {
  writeFileSync(REPORT, '');
  const began = Date.now();
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const child: ChildProcess = spawn(process.execPath, [vitest, 'run', ...args, '--reporter=json', `--outputFile.json=${REPORT}`], {
    cwd: ROOT,
    stdio: 'ignore',
  });
  const code = await new Promise<number>((done) => child.once('close', (c) => done(c ?? 1)));
  const text = readFileSync(REPORT, 'utf8');
  const report = text === '' ? undefined : (JSON.parse(text) as Report);
  const failed = (report?.testResults ?? []).flatMap((f) =>
    f.assertionResults.filter((t) => t.status === 'failed').map((t) => `${f.name.slice(ROOT.length)} > ${t.fullName}`),
  );
  if (code !== 0 && failed.length === 0) failed.push(report ? 'an error outside of a test' : 'it did not come to its end');
  return {
    ...{ commit, args, began: new Date(began).toISOString(), seconds: (Date.now() - began) / 1000 },
    ...{ passed: report?.numPassedTests ?? 0, skipped: report?.numPendingTests ?? 0, failed },
  };
}
