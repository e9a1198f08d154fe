/** The server as `npm start` runs it: a process of its own, with storage of its own, and whatever it starts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';

/** Why processes and their ports cannot be found here, or null. */
export const noProc = process.platform === 'linux' ? null : 'processes and ports are found through /proc';

export interface Launcher {
  url: string;
  child: ChildProcess;
  storage: string;
  /** What it printed so far. */
  said(): string;
  /** Waits until it has printed that. */
  prints(text: string | RegExp): Promise<void>;
  /** Resolves with the exit code, or the signal that ended it. */
  ended: Promise<number | string | null>;
  /** Ends it at once, whatever state it is in, and removes its storage. */
  remove(): Promise<void>;
}

/** Variables are the test's alone: none of this process's settings reach it. */
export function environment(vars: Record<string, string>): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env;
  // npm asks its registry for news of itself once a week, and waits for the answer
  return { PATH, HOME, ...(TMPDIR && { TMPDIR }), npm_config_update_notifier: 'false', PORT: '0', ...vars };
}

/** Starts it; resolves when it says that it serves. Rejects with what it printed when it ends before. `command`: in place of the launcher's own. */
export async function launch(vars: Record<string, string> = {}, command?: string[]): Promise<Launcher> {
  const storage = vars.STORAGE ?? mkdtempSync(join(tmpdir(), 'turnstone-launcher-'));
  const [file, ...args] = command ?? [process.execPath, '--import', 'tsx', join(ROOT, 'cli/index.ts'), 'start'];
  const child = spawn(file, args, { cwd: ROOT, env: environment({ STORAGE: storage, ...vars }), stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  const waiting = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (d) => {
      text += d;
      for (const look of waiting) look();
    });
  }
  const ended = new Promise<number | string | null>((done) => {
    child.once('exit', (code, signal) => {
      done(code ?? signal);
      for (const look of waiting) look();
    });
  });
  const over = () => child.exitCode !== null || child.signalCode !== null;
  const prints = (wanted: string | RegExp) =>
    new Promise<void>((done, fail) => {
      const look = () => {
        const found = typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text);
        if (!found && !over()) return;
        waiting.delete(look);
        if (found) done();
        else fail(new Error(text));
      };
      waiting.add(look);
      look();
    });
  const remove = async () => {
    if (!over()) child.kill('SIGKILL');
    await ended;
    if (!vars.STORAGE) rmSync(storage, { recursive: true, force: true });
  };
  try {
    await prints('Ctrl-C stops it');
  } catch (error) {
    await remove();
    throw error;
  }
  const url = /serves .* at (\S+)/.exec(text)?.[1] ?? '';
  return { url, child, storage, said: () => text, prints, ended, remove };
}

const lines = (path: string): string[] => {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
};

/** A process and all below it, also what was reparented since: `marks` find those by a part of their command line. */
export function family(root: number): { pid: number; name: string }[] {
  const all = readdirSync('/proc')
    .filter((p) => /^\d+$/.test(p))
    .map((p) => {
      const [stat] = lines(`/proc/${p}/stat`);
      const after = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
      return { pid: Number(p), name: lines(`/proc/${p}/comm`)[0] ?? '', state: after[0], parent: Number(after[1]) };
    });
  const found = new Set([root]);
  for (let grew = true; grew; ) {
    grew = false;
    for (const p of all) if (found.has(p.parent) && !found.has(p.pid)) grew = Boolean(found.add(p.pid));
  }
  return all.filter((p) => found.has(p.pid) && p.state !== 'Z').map(({ pid, name }) => ({ pid, name }));
}

export const alive = (pid: number): boolean => {
  const [stat] = lines(`/proc/${pid}/stat`);
  return stat !== undefined && stat[stat.lastIndexOf(')') + 2] !== 'Z';
};

/** TCP ports on which these processes listen. */
export function listening(pids: readonly number[]): number[] {
  const ports = new Map<string, number>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of lines(table).slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state === '0A') ports.set(inode, Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16));
    }
  }
  const found = new Set<number>();
  for (const pid of pids) {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      try {
        const port = ports.get(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? '');
        if (port !== undefined) found.add(port);
      } catch {
        // closed meanwhile
      }
    }
  }
  return [...found].sort((a, b) => a - b);
}
