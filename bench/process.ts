/** Memory and processor time of processes, from /proc. */
import { readdirSync, readFileSync } from 'node:fs';

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

const parentOf = (pid: string): string =>
  / \S \d+/
    .exec(read(`/proc/${pid}/stat`).replace(/\(.*\)/s, ''))?.[0]
    .trim()
    .split(' ')[1] ?? '';

/** Ids of the processes of a name below `root`, this process unless given. */
export const processes = (name: string, root = process.pid): number[] =>
  [root, ...below(root)].filter((p) => read(`/proc/${p}/comm`).trim() === name);

/** Ids of all processes below `root`. */
export function below(root: number): number[] {
  const pids = readdirSync('/proc').filter((p) => /^\d+$/.test(p));
  const parents = new Map(pids.map((p) => [p, parentOf(p)]));
  const under = (p: string): boolean => parents.get(p) === String(root) || (parents.has(p) && under(parents.get(p)!));
  return pids.filter(under).map(Number);
}

export const workerds = (): number[] => processes('workerd');

/** Resident memory in MB: now, and the most there was. 0 where /proc does not tell. */
export function resident(pid: number): { now: number; peak: number } {
  const status = read(`/proc/${pid}/status`);
  const mb = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) / 1024;
  return { now: mb('VmRSS'), peak: mb('VmHWM') };
}
