/** What a figure was measured on: every result carries it. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, cpus, loadavg, platform, totalmem } from 'node:os';
import { ROOT } from '../cli/build.ts';

export interface Machine {
  cpu: string;
  /** Instructions that kernels care for, as the system names them. */
  flags: string[];
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
    flags: cpuFlags(),
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
  `${m.cpu}${m.flags?.length > 0 ? `, ${m.flags.join(' ')}` : ''}, ${m.cores} cores, ${m.memoryGB} GB, ${m.system}; Node ${m.node}, workerd ${m.workerd}; commit ${m.commit}, ${m.date.slice(0, 16)}Z, load ${m.load}`;

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

const TOLD = /^(avx2|avx_vnni|avx_vnni_int8|avx512f|avx512_vnni|avx512vbmi|amx_int8|asimd|asimddp|i8mm|sve)$/;

function cpuFlags(): string[] {
  try {
    if (platform() === 'darwin') {
      const all = execFileSync('sysctl', ['hw.optional'], { encoding: 'utf8' });
      return [...all.matchAll(/^hw\.optional\.(?:arm\.)?(\S+): 1$/gm)]
        .map((m) => m[1])
        .filter((f) => /DotProd|I8MM|AdvSIMD$|avx2/i.test(f));
    }
    const [, list] = /^(?:flags|Features)\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8')) ?? [];
    return (list ?? '').split(' ').filter((f) => TOLD.test(f));
  } catch {
    return [];
  }
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}
