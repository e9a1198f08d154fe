/**
 * What is timed. `wall` is what a user waits. `cpu` is the time that the measured processes had a processor: on a machine that
 * does other work too it says what `wall` would on an idle one, but for caches and memory that are shared.
 */
import { readdirSync, readFileSync } from 'node:fs';

export type ClockKind = 'wall' | 'cpu';

let kind: ClockKind = 'wall';
/** Returns the clock that was in use. */
export const useClock = (k: ClockKind): ClockKind => {
  const before = kind;
  kind = k;
  return before;
};

/** Starts; the function that it returns tells ms since. `pids` do the work that is to be timed, this process unless given. */
export function start(pids: readonly number[] = [process.pid]): () => number {
  const now = kind === 'wall' ? () => performance.now() : () => pids.reduce((ms, pid) => ms + cpuMs(pid), 0);
  const from = now();
  return () => now() - from;
}

/** ms that all threads of a process, alive now, were on a processor (/proc/…/schedstat, Linux). */
function cpuMs(pid: number): number {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      // it has ended meanwhile
    }
  }
  return ns / 1e6;
}
