/** One workerd process. Its configuration, keys included, goes in through its stdin and is never in a file; where it listens comes back through a pipe. */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { type Config, serializeConfig } from 'miniflare';
import type { Guard } from './guard.ts';

export interface WorkerdOptions {
  config: Config;
  guard: Guard;
  /** Opens the port by which another process reaches its objects: the path of a Unix socket. */
  debug?: string;
  /** Opens the runtime's inspector on a free port of this machine. */
  inspect?: boolean;
}

export interface Workerd {
  pid: number;
  /** By the socket's name; 0 for one that is no TCP port. `inspector`: when it was asked for. */
  ports: Map<string, number>;
  /** Resolves with how it ended. */
  ended: Promise<string>;
  /** Ends it: at once, or when its requests are done, after `graceMs` at the latest. */
  stop(graceMs?: number): Promise<void>;
}

/** The path of the runtime's program: a CommonJS package. */
const { default: workerd } = createRequire(import.meta.url)('workerd') as { default: string };

const TOLD = 20; // lines of what it printed that are shown when it does not start
/** A client that went while it was being answered: nothing is wrong. */
const LEFT = /^workerd\/.*: disconnected: /;
const UNIX = 'unix:';

/** Resolves when it listens; rejects with what it said when it does not. */
export async function startWorkerd({ config, guard, debug, inspect }: WorkerdOptions): Promise<Workerd> {
  const sockets = config.sockets ?? [];
  for (const { address } of sockets) if (address?.startsWith(UNIX)) rmSync(address.slice(UNIX.length), { force: true });
  if (debug) rmSync(debug, { force: true });
  const args = ['serve', '--binary', '--experimental', '--control-fd=3'];
  if (debug) args.push(`--debug-port=${UNIX}${debug}`);
  if (inspect) args.push('--inspector-addr=127.0.0.1:0');
  // detached: a terminal's Ctrl-C is for the launcher, which decides. Nothing of this environment is for it.
  const child = spawn(workerd, [...args, '-'], { stdio: ['pipe', 'pipe', 'pipe', 'pipe'], detached: true, env: {} });
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  const pid = child.pid as number;
  guard.add(pid); // before it has its configuration: without one it ends by itself
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      guard.remove(pid);
      resolve(signal ?? `code ${code}`);
    });
  });
  const said: string[] = [];
  const eachLine = (stream: Readable, say: (line: string) => void) =>
    createInterface({ input: stream }).on('line', (line) => {
      if (said.push(line) > TOLD) said.shift();
      say(line);
    });
  let listens = false;
  eachLine(child.stdout as Readable, (line) => console.log(line));
  let told = true;
  eachLine(child.stderr as Readable, (line) => {
    told = line.startsWith('stack: ') ? told && Boolean(process.env.DEBUG) : !LEFT.test(line);
    if (listens && told) console.error(line);
  });
  child.stdin?.on('error', () => {}); // it ended before it read all
  child.stdin?.end(serializeConfig(config));
  const wanted = sockets.map((s) => s.name as string);
  if (debug) wanted.push('debug-port');
  if (inspect) wanted.push('inspector');
  const ports = await Promise.race([portsOf(child, wanted), ended]);
  if (typeof ports === 'string') throw new Error(`workerd ended with ${ports} before it listened:\n${said.join('\n')}`);
  listens = true;
  return {
    pid,
    ports,
    ended,
    async stop(graceMs = 0) {
      if (graceMs > 0) child.kill('SIGTERM'); // it drains
      const kill = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await ended;
      clearTimeout(kill);
    },
  };
}

function portsOf(child: ChildProcess, wanted: readonly string[]): Promise<Map<string, number>> {
  const ports = new Map<string, number>();
  return new Promise((resolve) => {
    createInterface({ input: child.stdio[3] as Readable }).on('line', (line) => {
      const told = JSON.parse(line) as { event: string; socket?: string; port: number };
      ports.set(told.event === 'listen-inspector' ? 'inspector' : (told.socket ?? ''), told.port);
      if (wanted.every((name) => ports.has(name))) resolve(ports);
    });
  });
}
