/** What a start weighs: `npm start` with the shipped model, everything built before, until it idles. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, ROOT } from '../../cli/build.ts';
import { below, resident } from '../process.ts';
import type { Bench } from '../report.ts';
import { spread } from '../stats.ts';

/** All has been started, and has come to rest. */
const REST_MS = 8_000;
const MAX = { mb: 450, processes: 4, s: 3 };

export async function start(bench: Bench): Promise<void> {
  await build((line) => bench.progress(line));
  const runs: { ready: number; processes: number[]; rss: number; pss: number; names: string }[] = [];
  for (let i = 0; i < bench.rounds; i++) {
    const storage = mkdtempSync(join(tmpdir(), 'turnstone-start-'));
    const { PATH, HOME } = process.env;
    const began = performance.now();
    const child = spawn('npm', ['start'], {
      cwd: ROOT,
      env: { PATH, HOME, PORT: '0', STORAGE: storage },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await new Promise<void>((resolve, reject) => {
        child.stdout.on('data', (text) => String(text).includes('Turnstone serves') && resolve());
        child.once('exit', (code) => reject(new Error(`npm start ended with ${code}`)));
      });
      const ready = performance.now() - began;
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
      const tree = [child.pid as number, ...below(child.pid as number)];
      runs.push({
        ready: ready / 1000,
        processes: tree,
        rss: tree.reduce((sum, pid) => sum + resident(pid).now, 0),
        pss: tree.reduce((sum, pid) => sum + proportional(pid), 0),
        names: tree.map((pid) => `${nameOf(pid)} ${resident(pid).now.toFixed(0)}`).join(', '),
      });
    } finally {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
      rmSync(storage, { recursive: true, force: true });
    }
  }
  const of = (value: (r: (typeof runs)[number]) => number) => spread(runs.map(value));
  bench.figure({ name: 'npm start to ready', unit: 's', value: of((r) => r.ready) });
  bench.figure({ name: 'processes, npm with them', unit: '', value: of((r) => r.processes.length), note: runs[0].names });
  bench.figure({ name: 'resident memory of all, shared pages by their share (PSS)', unit: 'MB', value: of((r) => r.pss) });
  bench.figure({ name: 'the same, shared pages counted in each (RSS)', unit: 'MB', value: of((r) => r.rss) });
  bench.target({ name: 'memory (PSS)', got: of((r) => r.pss).median, want: MAX.mb, most: true, unit: 'MB' });
  bench.target({ name: 'processes', got: of((r) => r.processes.length).median, want: MAX.processes, most: true, unit: '' });
  bench.target({ name: 'ready', got: of((r) => r.ready).median, want: MAX.s, most: true, unit: 's' });
}

/** MB. 0 where /proc does not tell. */
function proportional(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

const nameOf = (pid: number): string => readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
