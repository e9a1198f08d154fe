/**
 * `npm run mutate [GROUP or FOLDER …]`: would the tests notice? Mutants of the core are drawn by a seed; each is written into a copy
 * of the repository, and there the tests that reach its file are run until one fails. Prints a table and the survivors with their
 * places; `.build/mutate/seed-GROUP.json` has all of a group, and is gone on from. Seconds to a minute a mutant; no part of `npm test`.
 */
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { build, ROOT } from '../cli/build.ts';
import { GROUPS, type Group } from './mutate/groups.ts';
import { type Mutant, mutantsOf, mutated, sample } from './mutate/mutants.ts';
import { Related } from './mutate/related.ts';
import type { Answer, Ask } from './mutate/runner.ts';

const HELP = `npm run mutate -- [GROUP or FOLDER …] [--sample N] [--seed N] [--file PART] [--tests PART,PART]
                      [--jobs N] [--minutes M] [--slowest S] [--resume] [--list]
  GROUP     ${Object.keys(GROUPS).join(', ')}; all unless given
  --sample  mutants of each group (40)
  --seed    of the draw (1)
  --file    only files whose path contains PART
  --tests   only tests whose path contains one of these: quicker, and a lower bound
  --jobs    groups that are run at the same time, a core each (1)
  --minutes to be done by then: each group gets its part of the time, and judges as many as it can of its sample
  --slowest only tests that take at most so many seconds on the unchanged copy: quicker, and a lower bound
  --resume  goes on from what the same seed has judged before
  --list    what would be run, and nothing else`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sample: { type: 'string', default: '40' },
    seed: { type: 'string', default: '1' },
    file: { type: 'string', default: '' },
    tests: { type: 'string', default: '' },
    jobs: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '0' },
    slowest: { type: 'string', default: '0' },
    resume: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
const number = (name: 'sample' | 'seed' | 'jobs' | 'minutes' | 'slowest'): number => {
  const n = Number(values[name]);
  if (!Number.isInteger(n) || n < 0 || n > 1e6) fail(`--${name} is ${values[name]}, must be an integer in 0..1000000`);
  return n;
};
const [size, seed, slowest] = [number('sample'), number('seed'), number('slowest')];
const until = number('minutes') > 0 ? Date.now() + number('minutes') * 60_000 : Number.POSITIVE_INFINITY;

/** A mutant that no test can notice, or need not: judged by a person, with the reason. Found again by its text, not by its line. */
interface Harmless {
  file: string;
  /** The line it is in, trimmed. */
  line: string;
  original: string;
  replacement: string;
  why: string;
}
type Verdict = 'noticed' | 'timed out' | 'survived' | 'harmless' | 'unreached';
interface Judged extends Mutant {
  verdict: Verdict;
  tests: number;
  seconds: number;
}

/** A run that takes longer than so many times the whole tests is one that never ends. */
const TIMES = 4;
const LEAST_MS = 30_000;
/** How tests say that they waited in vain, which a busy machine may be the cause of. */
const WAITED = /timed out in \d+ ?ms|did not succeed in time|Timeout \d+ ?ms exceeded/;
/** For a test's first run. */
const FIRST_MS = 900_000;
const harmless = JSON.parse(readFileSync(join(ROOT, 'scripts/mutate/harmless.json'), 'utf8')) as Harmless[];
/** Its own, so that two of these can run side by side. */
const own = join(ROOT, `.build/mutate/${process.pid}`);
const tree = join(own, 'tree');
/** Runs the group's tests in Node. */
let runner: ChildProcess | undefined;
let testsOf: string[] = [];
process.once('exit', () => {
  endRunner();
  rmSync(own, { recursive: true, force: true });
});
/** What is mutated is the copy as it was at the start: the repository may be edited meanwhile. */
const from = values.list ? ROOT : tree;
const chosen = (positionals.length > 0 ? positionals : Object.keys(GROUPS)).map(groupOf);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

interface Row {
  name: string;
  all: number;
  judged: Judged[];
}
const rows: Row[] = [];
const reportOf = (name: string) => join(ROOT, `.build/mutate/${seed}-${name.replaceAll('/', '-')}.json`);
const reported = (name: string): Row | undefined =>
  existsSync(reportOf(name)) ? (JSON.parse(readFileSync(reportOf(name), 'utf8')) as Row) : undefined;
if (number('jobs') > 1 && chosen.length > 1 && !values.list) {
  await apart(number('jobs'));
  print();
  process.exit(0);
}
if (!values.list) {
  if (!process.env.MUTATE_BUILT) await build((line) => console.log(line));
  copy();
}
const related = new Related(from);
for (const [name, group] of chosen) {
  const sources = group.sources
    .flatMap((s) => filesIn(s, (f) => f.endsWith('.ts') && !f.endsWith('.d.ts')))
    .filter((f) => f.includes(values.file));
  if (sources.length === 0) fail(`${name} has no source${values.file ? ` whose path contains ${values.file}` : ''}`);
  const meant = (file: string) => values.tests.split(',').some((part) => file.includes(part));
  const tests = group.tests.flatMap((t) => filesIn(t, (f) => f.endsWith('.test.ts'))).filter(meant);
  const all = (await Promise.all(sources.map((f) => mutantsOf(from, f)))).flat();
  const drawn = sample(all, size, seed);
  console.log(`\n── ${name}: ${drawn.length} of ${all.length} mutants in ${sources.length} files, seed ${seed} ──`);
  if (values.list) {
    for (const m of drawn) console.log(shown(m));
    continue;
  }
  testsOf = tests;
  endRunner();
  const known = testsFor(tests, (group.workerd ?? []).filter(meant));
  const before = values.resume ? (reported(name)?.judged ?? []) : [];
  const same = (m: Mutant) => before.find((j) => j.file === m.file && j.at === m.at && j.replacement === m.replacement);
  const row: Row = { name, all: all.length, judged: [] };
  rows.push(row);
  // each group has its part of what time is left
  const over = Date.now() + (until - Date.now()) / (chosen.length - rows.length + 1);
  for (const m of drawn) {
    if (Date.now() > over) break;
    const j = same(m) ?? (await judge(m, known));
    row.judged.push(j);
    console.log(`${String(row.judged.length).padStart(3)}  ${j.verdict.padEnd(9)}  ${j.seconds.toFixed(0).padStart(3)} s  ${shown(m)}`);
    writeFileSync(reportOf(name), JSON.stringify(row, null, 1));
  }
}
endRunner();
if (rows.length > 0) print();

/** Runs each group in a process of its own, so many at a time; fills `rows` from what they wrote. */
async function apart(jobs: number): Promise<void> {
  const left = chosen.map(([name]) => name);
  const running = new Set<ChildProcess>();
  process.once('exit', () => {
    for (const child of running) child.kill('SIGTERM');
  });
  const one = async (): Promise<void> => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      const rest = (until - Date.now()) / 60_000;
      const minutes = Math.floor(Math.min(rest, (rest * jobs) / (left.length + running.size + 1)));
      const given = ['sample', 'seed', 'file', 'tests', 'slowest'].flatMap((o) => [`--${o}`, String(values[o as 'sample'])]);
      const limited = Number.isFinite(until) ? ['--minutes', String(Math.max(1, minutes))] : [];
      const args = ['--import', 'tsx', join(ROOT, 'scripts/mutate.ts'), name, ...given, ...limited, ...(values.resume ? ['--resume'] : [])];
      const env = { ...process.env, MUTATE_BUILT: '1' };
      const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] });
      running.add(child);
      for await (const line of createInterface({ input: child.stdout })) {
        if (/^( *\d+ {2}|── )/.test(line)) console.log(`${name.padEnd(9)} ${line}`);
      }
      running.delete(child);
    }
  };
  for (const [name] of chosen) if (!values.resume) rmSync(reportOf(name), { force: true });
  await build((line) => console.log(line));
  await Promise.all(Array.from({ length: jobs }, one));
  rows.push(...chosen.flatMap(([name]) => reported(name) ?? []));
}

/** A group by its name, or by a folder or file: of the group whose source it is. */
function groupOf(name: string): [string, Group] {
  if (name in GROUPS) return [name, GROUPS[name]];
  const of = Object.values(GROUPS).find((g) => g.sources.some((s) => name.startsWith(s.replace(/\*$/, ''))));
  if (!of || !existsSync(join(ROOT, name))) fail(`${name} is no group, and no folder of one; groups: ${Object.keys(GROUPS).join(', ')}`);
  return [name, { ...of, sources: [name] }];
}

function filesIn(given: string, wanted: (file: string) => boolean): string[] {
  const path = given.replace(/\/\*$/, '');
  const full = join(from, path);
  if (!existsSync(full)) fail(`${path} of scripts/mutate/groups.ts is not there`);
  if (statSync(full).isFile()) return [path];
  return (readdirSync(full, { recursive: path === given }) as string[])
    .map((f) => join(path, f))
    .filter(wanted)
    .sort();
}

/** Mutants are written there, never here. */
function copy(): void {
  const { stdout } = spawnSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 26 });
  for (const file of stdout.split('\n').filter((f) => f !== '' && existsSync(join(ROOT, f)))) {
    mkdirSync(dirname(join(tree, file)), { recursive: true });
    cpSync(join(ROOT, file), join(tree, file));
  }
  for (const name of ['node_modules', 'dist'].filter((n) => existsSync(join(ROOT, n)) && !existsSync(join(tree, n)))) {
    symlinkSync(join(ROOT, name), join(tree, name));
  }
  const data = join(ROOT, '../shared');
  if (existsSync(data) && !existsSync(join(tree, '../shared'))) symlinkSync(data, join(tree, '../shared'));
}

interface Test {
  file: string;
  workerd: boolean;
  /** How long it takes on the unchanged copy, where it passes; not known before it is first wanted. */
  ms?: number;
  /** What it reaches, and by how many imports. */
  reach: Map<string, number>;
}

function testsFor(node: string[], workerd: string[]): Test[] {
  const inside = workerd.length > 0 ? related.reach('tests/workerd/worker.ts') : [];
  return [
    ...node.map((file) => ({ file, workerd: false, reach: related.reach(file) })),
    ...workerd.map((file) => ({ file, workerd: true, reach: new Map([...inside, ...related.reach(file)]) })),
  ];
}

/** The test passes on the unchanged copy; notes how long it takes. `again`: how long now, whatever it took before. */
async function prove(t: Test, again = false): Promise<void> {
  if (t.ms !== undefined && !again) return;
  let since = Date.now();
  let run = await runTest(t, FIRST_MS);
  if (run.late ? t.workerd : WAITED.test(run.said)) {
    // workerd has hung before its first test, rarely, and a machine that was busy may be so no longer: once more
    since = Date.now();
    run = await runTest(t, FIRST_MS);
  }
  if (run.failed) fail(`${t.file} fails before anything is changed:\n${run.said.slice(-4000)}`);
  t.ms = Date.now() - since;
}

async function judge(m: Mutant, tests: Test[]): Promise<Judged> {
  const path = join(tree, m.file);
  const text = readFileSync(path, 'utf8');
  const line = text.split('\n')[m.line - 1].trim();
  const known = harmless.some((h) => h.file === m.file && h.line === line && h.original === m.original && h.replacement === m.replacement);
  // in Node first, of these what imports it itself, of these what is quick
  const order = (t: Test) => [t.workerd ? 1 : 0, Math.min(2, t.reach.get(m.file) ?? 0), t.ms ?? LEAST_MS];
  const mine = tests.filter((t) => t.reach.has(m.file)).sort((a, b) => compare(order(a), order(b)));
  const began = Date.now();
  const result = (verdict: Verdict): Judged => ({ ...m, verdict, tests: mine.length, seconds: (Date.now() - began) / 1000 });
  if (known) return result('harmless');
  if (mine.length === 0) return result('unreached');
  for (const t of mine) {
    await prove(t);
    if (slowest > 0 && (t.ms as number) > slowest * 1000) continue;
    const changed = async () => {
      writeFileSync(path, mutated(text, m));
      const run = await runTest(t, Math.max(LEAST_MS, (t.ms as number) * TIMES), path).finally(() => writeFileSync(path, text));
      if (!t.workerd) await inNode({ changed: path, files: [] }, LEAST_MS);
      return run;
    };
    let run = await changed();
    if (run.late || (run.failed && WAITED.test(run.said))) {
      // is it the mutant that takes so long, or the machine? What the unchanged copy takes now decides
      await prove(t, true);
      run = await changed();
    }
    if (run.failed) return result(run.late ? 'timed out' : 'noticed');
  }
  return result('survived');
}

function compare(a: number[], b: number[]): number {
  const at = a.findIndex((x, i) => x !== b[i]);
  return at < 0 ? 0 : a[at] - b[at];
}

/** `late`: it had to be ended. */
async function runTest(t: Test, limitMs: number, changed?: string): Promise<{ failed: boolean; late: boolean; said: string }> {
  if (t.workerd) return inWorkerd(t.file, limitMs);
  const { answer } = await inNode({ changed, files: [t.file] }, limitMs);
  return { failed: !answer || answer.failed !== undefined, late: !answer, said: answer?.failed?.said ?? '' };
}

/** Runs these in the copy. No answer: it had to be ended. */
async function inNode(ask: Ask, limitMs: number): Promise<{ answer?: Answer }> {
  if (!runner) {
    const env = { ...process.env, FILES: testsOf.join(' '), NODE_NO_WARNINGS: '1' };
    const args = [tree, join(tree, 'scripts/mutate/vitest.config.ts')];
    const started = fork(join(tree, 'scripts/mutate/runner.ts'), args, {
      cwd: tree,
      env,
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    started.once('exit', () => {
      if (runner === started) runner = undefined;
    });
    runner = started;
    await new Promise<void>((ready, no) => {
      started.once('message', () => ready());
      started.once('exit', () => no(new Error('the tests could not be started')));
    });
  }
  const at = runner;
  return new Promise((done) => {
    const timer = setTimeout(() => {
      endRunner();
      done({});
    }, limitMs);
    const gone = () => done({}); // a mutant that ends the process
    at.once('exit', gone);
    at.once('message', (answer) => {
      clearTimeout(timer);
      at.off('exit', gone);
      done({ answer: answer as Answer });
    });
    at.send(ask);
  });
}

/** The process that runs tests in Node, and what it has started. */
function endRunner(): void {
  if (runner) endGroup(runner);
  runner = undefined;
}

function endGroup(child: ChildProcess): void {
  try {
    process.kill(-(child.pid as number), 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}

/** Runs a file in the copy, inside workerd. */
async function inWorkerd(file: string, limitMs: number): Promise<{ failed: boolean; late: boolean; said: string }> {
  const config = join(tree, 'vitest.workerd.config.ts');
  const args = [join(tree, 'node_modules/vitest/vitest.mjs'), 'run', '--root', tree, '--config', config, '--bail', '1', file];
  const child = spawn(process.execPath, args, { cwd: tree, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const end = () => endGroup(child);
  process.once('exit', end);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (d) => (said += d));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    end();
  }, limitMs);
  const code = await new Promise<number>((done) => child.once('close', (c) => done(c ?? 1)));
  clearTimeout(timer);
  end(); // what it left
  process.off('exit', end);
  return { failed: code !== 0, late, said };
}

function shown(m: Mutant): string {
  const short = (s: string) => {
    const flat = s.replace(/\s+/g, ' ');
    return flat.length > 60 ? `${flat.slice(0, 57)}…` : flat;
  };
  return `${m.file}:${m.line}:${m.column}  ${short(m.original)}  →  ${short(m.replacement)}`;
}

function print(): void {
  const percent = (n: number, of: number) => (of === 0 ? '' : `${((100 * n) / of).toFixed(0)} %`);
  const table = rows.map(({ name, all, judged }) => {
    const count = (...v: Verdict[]) => judged.filter((j) => v.includes(j.verdict)).length;
    const [seen, fine] = [count('noticed', 'timed out'), count('harmless')];
    return [
      name,
      all,
      judged.length,
      seen,
      count('survived', 'unreached'),
      fine,
      percent(seen, judged.length),
      percent(seen, judged.length - fine),
    ];
  });
  console.log(`\nseed ${seed}\n| group | mutants | drawn | noticed | not noticed | harmless | noticed of all | without harmless |`);
  console.log('|---|---:|---:|---:|---:|---:|---:|---:|');
  for (const row of table) console.log(`| ${row.join(' | ')} |`);
  const left = rows.flatMap((r) => r.judged).filter((j) => j.verdict === 'survived' || j.verdict === 'unreached');
  if (left.length > 0) console.log(`\nNot noticed:`);
  for (const j of left) console.log(`${shown(j)}${j.verdict === 'unreached' ? '  (no test reaches the file)' : ''}`);
}

function fail(why: string): never {
  console.error(`mutate: ${why}`);
  process.exit(2);
}
