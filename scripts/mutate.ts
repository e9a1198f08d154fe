/**
 * `npm run mutate [GROUP or FOLDER …]`: would the tests notice? Mutants of the core are drawn by a seed; each is written into a copy
 * of the repository, and there the tests that reach its file are run until one fails. Prints a table and the survivors with their
 * places; `.build/mutate/report-….json` has all. Seconds to a minute a mutant; no part of `npm test`.
 */
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { build, ROOT } from '../cli/build.ts';
import { GROUPS, type Group } from './mutate/groups.ts';
import { type Mutant, mutantsOf, mutated, sample } from './mutate/mutants.ts';
import { Related } from './mutate/related.ts';

const HELP = `npm run mutate -- [GROUP or FOLDER …] [--sample N] [--seed N] [--file PART] [--list]
  GROUP     ${Object.keys(GROUPS).join(', ')}; all unless given
  --sample  mutants of each group (40)
  --seed    of the draw (1)
  --file    only files whose path contains PART
  --list    what would be run, and nothing else`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sample: { type: 'string', default: '40' },
    seed: { type: 'string', default: '1' },
    file: { type: 'string', default: '' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
const number = (name: 'sample' | 'seed'): number => {
  const n = Number(values[name]);
  if (!Number.isInteger(n) || n < 0 || n > 1e6) fail(`--${name} is ${values[name]}, must be an integer in 0..1000000`);
  return n;
};
const [size, seed] = [number('sample'), number('seed')];

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
const LEAST_MS = 60_000;
const harmless = JSON.parse(readFileSync(join(ROOT, 'scripts/mutate/harmless.json'), 'utf8')) as Harmless[];
/** Its own, so that two of these can run side by side. */
const own = join(ROOT, `.build/mutate/${process.pid}`);
const tree = join(own, 'tree');
process.once('exit', () => rmSync(own, { recursive: true, force: true }));
/** What is mutated is the copy as it was at the start: the repository may be edited meanwhile. */
const from = values.list ? ROOT : tree;
const chosen = (positionals.length > 0 ? positionals : Object.keys(GROUPS)).map(groupOf);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

const rows: { name: string; all: number; judged: Judged[] }[] = [];
if (!values.list) {
  await build((line) => console.log(line));
  copy();
}
const related = new Related(from);
for (const [name, group] of chosen) {
  const sources = group.sources
    .flatMap((s) => filesIn(s, (f) => f.endsWith('.ts') && !f.endsWith('.d.ts')))
    .filter((f) => f.includes(values.file));
  const tests = group.tests.flatMap((t) => filesIn(t, (f) => f.endsWith('.test.ts')));
  const all = (await Promise.all(sources.map((f) => mutantsOf(from, f)))).flat();
  const drawn = sample(all, size, seed);
  console.log(`\n── ${name}: ${drawn.length} of ${all.length} mutants in ${sources.length} files, seed ${seed} ──`);
  if (values.list) {
    for (const m of drawn) console.log(shown(m));
    continue;
  }
  const quickest = await baseline(tests, group.workerd ?? []);
  const judged: Judged[] = [];
  for (const m of drawn) {
    const j = await judge(m, quickest);
    judged.push(j);
    console.log(`${String(judged.length).padStart(3)}  ${j.verdict.padEnd(9)}  ${j.seconds.toFixed(0).padStart(3)} s  ${shown(m)}`);
  }
  rows.push({ name, all: all.length, judged });
  writeFileSync(
    join(ROOT, `.build/mutate/report-${seed}-${chosen.map(([n]) => n.replaceAll('/', '-')).join('+')}.json`),
    JSON.stringify({ seed, rows }, null, 1),
  );
}
if (rows.length > 0) print();

/** A group by its name, or by a folder or file: of the group whose source it is. */
function groupOf(name: string): [string, Group] {
  if (name in GROUPS) return [name, GROUPS[name]];
  const of = Object.values(GROUPS).find((g) => g.sources.some((s) => name.startsWith(s)));
  if (!of || !existsSync(join(ROOT, name))) fail(`${name} is no group, and no folder of one; groups: ${Object.keys(GROUPS).join(', ')}`);
  return [name, { ...of, sources: [name] }];
}

function filesIn(path: string, wanted: (file: string) => boolean): string[] {
  const full = join(from, path);
  if (!existsSync(full)) fail(`${path} of scripts/mutate/groups.ts is not there`);
  if (statSync(full).isFile()) return [path];
  return (readdirSync(full, { recursive: true }) as string[])
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

interface Timed {
  file: string;
  workerd: boolean;
  ms: number;
  reach: Set<string>;
}

/** All tests on the unchanged copy: they must pass. How long each takes, quickest first. */
async function baseline(tests: string[], workerd: string[]): Promise<Timed[]> {
  const timed: Timed[] = [];
  const inside = workerd.length > 0 ? related.reach('tests/workerd/worker.ts') : new Set<string>();
  for (const [files, isWorkerd] of [
    [tests, false],
    [workerd, true],
  ] as const) {
    if (files.length === 0) continue;
    // workerd has hung before its first test, rarely: once more
    let run = await vitest(files, isWorkerd, isWorkerd ? 300_000 : 1_800_000);
    if (run.code === undefined) run = await vitest(files, isWorkerd, 600_000);
    const { code, times, said } = run;
    if (code !== 0) fail(`tests fail before anything is changed:\n${said.slice(-4000)}`);
    for (const file of files) {
      const reach = related.reach(file);
      if (isWorkerd) for (const f of inside) reach.add(f);
      timed.push({ file, workerd: isWorkerd, ms: times.get(file) ?? 0, reach });
    }
  }
  return timed.sort((a, b) => a.ms - b.ms);
}

async function judge(m: Mutant, quickest: Timed[]): Promise<Judged> {
  const path = join(tree, m.file);
  const text = readFileSync(path, 'utf8');
  const line = text.split('\n')[m.line - 1].trim();
  const known = harmless.some((h) => h.file === m.file && h.line === line && h.original === m.original && h.replacement === m.replacement);
  const mine = quickest.filter((t) => t.reach.has(m.file));
  const result = (verdict: Verdict, since = Date.now()): Judged => ({
    ...m,
    verdict,
    tests: mine.length,
    seconds: (Date.now() - since) / 1000,
  });
  if (known) return result('harmless');
  if (mine.length === 0) return result('unreached');
  const began = Date.now();
  writeFileSync(path, mutated(text, m));
  try {
    for (const inWorkerd of [false, true]) {
      const run = mine.filter((t) => t.workerd === inWorkerd);
      if (run.length === 0) continue;
      const whole = run.reduce((ms, t) => ms + t.ms, 0);
      const { code } = await vitest(
        run.map((t) => t.file),
        inWorkerd,
        Math.max(LEAST_MS, whole * TIMES),
      );
      if (code !== 0) return result(code === undefined ? 'timed out' : 'noticed', began);
    }
    return result('survived', began);
  } finally {
    writeFileSync(path, text);
  }
}

/** Runs these files in the copy. `code` is undefined when it had to be ended. */
async function vitest(
  files: string[],
  workerd: boolean,
  limitMs: number,
): Promise<{ code?: number; times: Map<string, number>; said: string }> {
  const report = join(own, 'run.json');
  rmSync(report, { force: true });
  const config = join(tree, workerd ? 'vitest.workerd.config.ts' : 'scripts/mutate/vitest.config.ts');
  const args = [join(tree, 'node_modules/vitest/vitest.mjs'), 'run', '--root', tree, '--config', config, '--bail', '1'];
  args.push('--reporter=json', `--outputFile=${report}`, ...(workerd ? files : []));
  const env = { ...process.env, FILES: files.join(' '), NODE_NO_WARNINGS: '1' };
  const child = spawn(process.execPath, args, { cwd: tree, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const end = () => {
    try {
      process.kill(-(child.pid as number), 'SIGKILL');
    } catch {
      // it has ended by itself
    }
  };
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
  const times = new Map<string, number>();
  if (existsSync(report)) {
    const r = JSON.parse(readFileSync(report, 'utf8')) as {
      testResults: { name: string; startTime: number; endTime: number; message: string }[];
    };
    for (const t of r.testResults) times.set(t.name.slice(tree.length + 1), t.endTime - t.startTime);
    said = r.testResults.map((t) => t.message).join('\n') + said;
  }
  return { code: late ? undefined : code, times, said };
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
