import { type ChildProcess, spawn } from 'node:child_process';

/** Reads `+ pid` and `- pid`; when its input ends, the launcher is gone, however that came: it ends what is left and removes the folder. */
const SCRIPT = `
trap '' HUP INT TERM
pids=
while read -r op pid; do
  left=
  for p in $pids; do [ "$p" = "$pid" ] || left="$left $p"; done
  pids=$left
  [ "$op" = - ] || pids="$pids $pid"
done
[ -z "$pids" ] || kill -9 $pids
rm -rf "$1"
`;

/** No process outlives the launcher, not even one that was killed: a shell beside it holds the list. Killed itself, it is started again. */
export class Guard {
  readonly #pids = new Set<number>();
  readonly #folder: string;
  #shell: ChildProcess;
  #over = false;

  /** `folder` is removed at the end. */
  constructor(folder: string) {
    this.#folder = folder;
    this.#shell = this.#start();
  }

  get pid(): number | undefined {
    return this.#shell.pid;
  }

  add(pid: number): void {
    this.#pids.add(pid);
    this.#shell.stdin?.write(`+ ${pid}\n`);
  }

  /** It has ended. */
  remove(pid: number): void {
    this.#pids.delete(pid);
    this.#shell.stdin?.write(`- ${pid}\n`);
  }

  /** All have ended. */
  close(): void {
    this.#over = true;
    this.#shell.stdin?.end();
  }

  #start(): ChildProcess {
    // detached: a terminal's Ctrl-C is for the launcher
    const shell = spawn('/bin/sh', ['-c', SCRIPT, 'turnstone-guard', this.#folder], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      env: { PATH: process.env.PATH ?? '/usr/bin:/bin' },
    });
    shell.stdin?.on('error', () => {}); // it was killed
    shell.once('exit', () => {
      if (!this.#over) this.#shell = this.#start();
    });
    for (const pid of this.#pids) shell.stdin?.write(`+ ${pid}\n`);
    return shell;
  }
}
