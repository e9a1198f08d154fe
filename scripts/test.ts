/**
 * `npm test [SUITE …]`: checks, then tests in Node, inside workerd, PyTorch's, and over HTTP and in a browser. One closing line;
 * non-zero when anything failed. `REQUIRE=data,models,browser,gpu,python,npm` (any of these): a test skipped for want of it fails the gate.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { build, ROOT } from '../cli/build.ts';
import { kindOf, NO_REASON, type Noted, wantedKinds } from './skips.ts';

interface Suite {
  name: string;
  command: string[];
  /** Its end at the latest: what hangs fails, and ends. */
  limitS: number;
  /** Its output comes in one piece when it has ended. */
  quiet?: boolean;
  /** Beside this process's own variables. */
  env?: Record<string, string>;
  /** Vitest: it notes as it goes which files have not ended. One that hangs is run once more with these, which counts as a try again. */
  vitest?: boolean;
}

const node = process.execPath;
const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
const built = (file: string) => join(ROOT, '.build', file);
const notes = (name: string) => built(`tests-${name}-notes.json`);
const suite = (name: string, limitS: number, ...args: string[]): Suite => ({
  name,
  limitS,
  command: [node, vitest, 'run', ...args, '--reporter=default', '--reporter', join(ROOT, 'scripts/notes.ts')],
  vitest: true,
});
const script = (name: string, limitS: number): Suite => ({
  name,
  limitS,
  command: [node, '--import', 'tsx', join(ROOT, `scripts/${name}.ts`)],
});

/** Tests over real servers are tried again when they fail; that may hide a fault, so more than one of them fails the gate. */
const MOST_RETRIES = 1;
/** From a suite's last test to its end. One that hangs after all its tests have passed counts as a try again. */
const EXIT_MS = 30_000;
/** No test takes so long; a suite of which none ends meanwhile hangs: a worker that loops, a browser's GPU process that answers no more. */
const STALL_MS = 400_000;

/** One after the other; what is together runs at once, and fills what the others leave of two cores: they wait a lot. */
const LANES: Suite[][] = [
  [script('check', 300)],
  [suite('node', 1_200, '--project', 'node'), { ...script('python', 1_200), quiet: true }],
  [
    { ...suite('e2e', 1_800, '--project', 'e2e'), env: { E2E: 'together' } }, // two files at a time
    { ...suite('workerd', 600, '--config', 'vitest.workerd.config.ts'), quiet: true },
  ],
  [{ ...suite('timed', 900, '--project', 'e2e'), env: { E2E: 'timed' } }], // over real servers, too; by itself
];

const running = new Set<ChildProcess>();
// whatever ends this ends them
process.once('exit', () => {
  for (const child of running) end(child);
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));

const only = process.argv.slice(2);
const known = LANES.flat().map((s) => s.name);
const unknown = only.filter((name) => !known.includes(name));
if (unknown.length > 0) fail(`${unknown.join(', ')}: no such suite; there are ${known.join(', ')}`);
const required = wantedKinds(process.env.REQUIRE ?? '', fail);

const began = Date.now();
let failed = 0;
let retries = 0;
const times: string[] = [];
const total = { passed: 0, failed: 0, skipped: 0 };
const reasons = new Map<string, number>();
// on a clone as a newcomer has it: later nothing would tell whether `npm start` builds what it needs
if (only.length === 0 && !existsSync(built('worker')) && !(await run(script('first-start', 300)))) failed++;
await build((line) => console.log(line));
mkdirSync(join(ROOT, '.build'), { recursive: true });
for (const lane of LANES) await Promise.all(lane.filter((s) => only.length === 0 || only.includes(s.name)).map(one));

for (const [why, n] of [...reasons].sort((a, b) => b[1] - a[1])) {
  const kind = kindOf(why);
  const wrong = why.startsWith(NO_REASON) || (kind !== undefined && required.has(kind));
  console.log(`${wrong ? '✗ ' : ''}skipped ${n}: ${why}${wrong && kind ? ` (REQUIRE names ${kind})` : ''}`);
  if (wrong) failed++;
}
if (retries > MOST_RETRIES) {
  console.log(`${retries} tries again are more than ${MOST_RETRIES}: something fails now and then`);
  failed++;
}
console.log(
  `\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped, ${retries} tried again in ${seconds(began)} (${times.join(', ')})`,
);
process.exit(failed > 0 ? 1 : 0);

async function one(suite: Suite): Promise<void> {
  const started = Date.now();
  if (!(await run(suite))) failed++;
  times.push(`${suite.name} ${seconds(started)}`);
}

function add(noted: Noted): void {
  total.passed += noted.passed;
  total.failed += noted.failed;
  for (const r of noted.retried) {
    console.log(`tried again ${r.times} time${r.times > 1 ? 's' : ''}: ${r.test}: ${r.why}`);
    retries += r.times;
  }
  for (const { why, tests } of noted.skipped) {
    total.skipped += tests;
    reasons.set(why, (reasons.get(why) ?? 0) + tests);
  }
}

function seconds(since: number): string {
  return `${((Date.now() - since) / 1000).toFixed(0)} s`;
}

/** What has been noted so far; undefined: it did not get that far. */
function read(name: string): Noted | undefined {
  return existsSync(notes(name)) ? (JSON.parse(readFileSync(notes(name), 'utf8')) as Noted) : undefined;
}

/** Whether it succeeded. `files`: these alone, which hung when they ran among the others. */
async function run(suite: Suite, files?: string[]): Promise<boolean> {
  const { name, limitS, quiet } = suite;
  rmSync(notes(name), { force: true });
  const [file, ...args] = [...suite.command, ...(files ?? [])];
  if (!quiet) console.log(`\n── ${name} ──`);
  const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false', NOTES: notes(name), ...suite.env };
  // a group of its own, so that nothing it started outlives it
  const child = spawn(file, args, {
    cwd: ROOT,
    env,
    detached: true,
    stdio: ['ignore', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (d) => (said += d));
  running.add(child);
  const over = new Promise<number>((done) => child.once('close', (code) => done(code ?? 1)));
  const code = await Promise.race([over, tooLong(suite, limitS * 1000)]);
  if (quiet) console.log(`\n── ${name} ──\n${said.trim()}`);
  running.delete(child);
  if (typeof code === 'string') end(child);
  const noted = read(name);
  if (noted) add(noted);
  if (typeof code === 'number') return code === 0;
  console.log(`${name}: ${code}`);
  if (!suite.vitest) return false;
  retries++;
  if (noted?.ended) return noted.failed === 0 && noted.open.length === 0;
  if (files) return false;
  const open = noted?.open ?? []; // none: it hung before it began, and all are run
  for (const f of open) console.log(`${name}: not at its end: ${relative(ROOT, f)}`);
  return (await run(suite, open)) && (noted?.failed ?? 0) === 0;
}

/** Resolves with what is wrong when the suite goes on for longer than `limitMs`, than STALL_MS without a word, or than EXIT_MS after its last test. */
async function tooLong({ name, vitest }: Suite, limitMs: number): Promise<string> {
  const began = Date.now();
  for (;;) {
    await pause(1000, undefined, { ref: false });
    if (Date.now() > began + limitMs) return `not done after ${limitMs / 1000} s, ended`;
    if (!vitest) continue;
    const quietMs = Date.now() - (statSync(notes(name), { throwIfNoEntry: false })?.mtimeMs ?? began);
    if (quietMs > STALL_MS) return `no test has ended for ${STALL_MS / 1000} s, ended`;
    if (quietMs > EXIT_MS && read(name)?.ended) return `its tests are done, it is not: ended ${EXIT_MS / 1000} s later`;
  }
}

function end(child: ChildProcess): void {
  try {
    process.kill(-(child.pid as number), 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}

function fail(why: string): never {
  console.error(`npm test: ${why}`);
  process.exit(2);
}
