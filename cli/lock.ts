/** One server at a time on a STORAGE folder: SQLite files have one writer. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

interface Holder {
  pid: number;
  /** What tells the process from a later one of the same number. */
  born: string;
  /** The shell that ends a launcher's processes when it was killed. */
  guard?: number;
}

const NAME = 'server.lock';
const GUARD_MS = 5_000;

/** Takes the folder, which is made if need be for this user alone. Rejects naming the process that has it; one that is gone has nothing. */
export async function lockStorage(folder: string, guard: number | undefined): Promise<{ release(): void }> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const lock = join(folder, NAME);
  const mine = join(folder, `${NAME}.${process.pid}`);
  const text = JSON.stringify({ pid: process.pid, born: bornOf(process.pid) ?? '', guard } satisfies Holder);
  writeFileSync(mine, text, { mode: 0o600 });
  try {
    while (!link(mine, lock)) {
      const found = read(lock);
      if (found === undefined) continue; // released meanwhile
      const holder = parse(found);
      if (holder && bornOf(holder.pid) !== undefined && (holder.born === '' || bornOf(holder.pid) === holder.born)) {
        throw new Error(
          `STORAGE ${folder} is in use by the server with process id ${holder.pid}. Stop it, or set STORAGE to another folder.`,
        );
      }
      for (let ms = 0; holder?.guard && alive(holder.guard) && ms < GUARD_MS; ms += 50) await pause(50); // it ends what was left
      // of several that found it so, one moves it away
      const old = join(folder, `${NAME}.old.${process.pid}`);
      try {
        renameSync(lock, old);
        if (read(old) !== found) link(old, lock); // somebody else's new one, given back
        rmSync(old, { force: true });
      } catch {
        // moved away already
      }
    }
  } finally {
    rmSync(mine, { force: true });
  }
  const release = () => {
    process.off('exit', release);
    if (read(lock) === text) rmSync(lock, { force: true });
  };
  process.once('exit', release);
  return { release };
}

/** False: there is one already. Atomic, and the file is whole when it appears. */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function parse(text: string): Holder | undefined {
  try {
    const h = JSON.parse(text) as Holder;
    return Number.isSafeInteger(h.pid) && h.pid > 0 ? h : undefined;
  } catch {
    return undefined;
  }
}

export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** When a process began, in the system's own count; '' where the system does not tell, undefined when there is none. */
function bornOf(pid: number): string | undefined {
  if (!alive(pid)) return undefined;
  const boot = read('/proc/sys/kernel/random/boot_id')?.trim();
  const stat = read(`/proc/${pid}/stat`);
  if (boot === undefined || stat === undefined) return '';
  const [state, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return state === 'Z' ? undefined : `${boot} ${rest[18]}`;
}
