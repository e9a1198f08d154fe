/** What a figure was measured on: every result carries it. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, cpus, loadavg, platform, totalmem } from 'node:os';
import { ROOT } from '../cli/build.ts';

export interface Machine {
  cpu: string;
  cores: number;
  memoryGB: number;
  system: string;
  node: string;
  v8: string;
  workerd: string;
  commit: string;
  date: string;
  /** One-minute load average before the run: above 0.5 others were measured too. */
  load: number;
}

export function machine(): Machine {
  const require = createRequire(import.meta.url);
  const { version } = require('workerd/package.json') as { version: string };
  return {
    cpu: cpuName(),
    cores: cpus().length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${arch()}`,
    node: process.versions.node,
    v8: process.versions.v8,
    workerd: version,
    commit: commit(),
    date: new Date().toISOString(),
    load: Number(loadavg()[0].toFixed(2)),
  };
}

export const describeMachine = (m: Machine): string =>
  `${m.cpu}, ${m.cores} cores, ${m.memoryGB} GB, ${m.system}; Node ${m.node}, workerd ${m.workerd}; commit ${m.commit}, ${m.date.slice(0, 16)}Z, load ${m.load}`;

/** Virtual machines often hide the model's name; family and model tell the generation. */
function cpuName(): string {
  const name = cpus()[0]?.model.trim() ?? 'unknown';
  try {
    const info = readFileSync('/proc/cpuinfo', 'utf8');
    const field = (key: string) => new RegExp(`^${key}\\s*: (.*)$`, 'm').exec(info)?.[1];
    return `${name} (family ${field('cpu family')} model ${field('model')}, ${Math.round(Number(field('cpu MHz')))} MHz)`;
  } catch {
    return name;
  }
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}
