/**
 * More workerd processes beside the first. workerd runs all isolates of a process on one thread, so that replicas compute at
 * the same time only in processes of their own. Queue, sessions and routes stay in the first one; objects of one process call those
 * of another as if they were its own (workerd/modules/remote.ts).
 */
import { setTimeout as pause } from 'node:timers/promises';
import { schedulerOf } from '../durable-objects/scheduler/port.ts';
import type { LocalPack } from './packs.ts';
import { replicasConfig, type ServerConfig, type Vars } from './workerd/config.ts';
import type { Home } from './workerd/home.ts';
import { Kept } from './workerd/keep.ts';
import type { Objects } from './workerd/objects.ts';
import { startWorkerd } from './workerd/process.ts';

const PROBE_MS = 50;
const PROBES = 600;

export interface Layout {
  /** The first one counted. */
  processes: number;
  /** Of each process; replica r lives in process r modulo `processes`. */
  replicas: number;
}

export interface ProcessesOptions extends Layout {
  home: Home;
  /** Of the first process, which listens already. */
  objects: Objects;
  vars: Vars;
  pack: LocalPack;
  npu?: string;
  /** The processes are started when this settles. */
  after?: Promise<unknown>;
  say: (line: string) => void;
}

export const FIRST = 'turnstone';
const nameOf = (number: number) => `turnstone-${number}`;
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
/** Replicas of a process. */
const membersOf = (number: number, { processes, replicas }: Layout) => range(0, replicas).map((i) => i * processes + number);

/** What the first process is told of the others: nothing where there are none. */
export function elsewhere(layout: Layout, { sockets }: Home): { vars: Vars; elsewhere: ServerConfig['elsewhere']; debug?: string } {
  if (layout.processes === 1) return { vars: {}, elsewhere: [] };
  return {
    vars: { REPLICAS: String(layout.processes * layout.replicas), REPLICAS_HERE: String(layout.replicas) },
    elsewhere: range(1, layout.processes).map((p) => ({
      name: nameOf(p),
      address: sockets.address(nameOf(p)),
      classes: ['Replica'],
      replicas: membersOf(p, layout),
    })),
    debug: sockets.path(FIRST),
  };
}

/** Starts the other processes in the background. The queue gives a process work once its replicas have answered, and none after it has ended. */
export async function startProcesses(o: ProcessesOptions): Promise<{ ready: Promise<void>; stop(): Promise<void> }> {
  const others = range(1, o.processes).map((p) => new Process(o, p));
  for (const p of others) await p.absent(true); // nothing is sent there before it has answered
  let over = false;
  const ready = (async () => {
    await o.after;
    await Promise.all(others.map((p) => p.start()));
  })();
  ready.catch((error: unknown) => over || o.say(`Another process does not start: ${error instanceof Error ? error.message : error}`));
  return {
    ready,
    stop: async () => {
      over = true;
      await Promise.all(others.map((p) => p.stop()));
    },
  };
}

class Process {
  readonly #o: ProcessesOptions;
  readonly #members: string[];
  readonly #kept: Kept;
  #over = false;

  constructor(o: ProcessesOptions, number: number) {
    this.#o = o;
    this.#members = membersOf(number, o).map(String);
    const { sockets, guard } = o.home;
    const name = nameOf(number);
    const first = { name: FIRST, address: sockets.address(FIRST), classes: ['Session', 'Scheduler'] };
    const shown = `workerd ${number + 1} of ${o.processes}`;
    this.#kept = new Kept({
      name: shown,
      say: o.say,
      start: () => {
        const config = replicasConfig({ vars: o.vars, pack: o.pack, name, first, npu: o.npu });
        return startWorkerd({ config, guard, debug: sockets.path(name) });
      },
      ended: () => this.absent(true),
      restarted: async (gone) => {
        await this.#join(gone);
        o.say(`${shown} computes again.`);
      },
    });
  }

  /** Takes its replicas out of the queue, or in again. What they ran when they ended is lost, or its session asks again. */
  async absent(absent: boolean): Promise<void> {
    await this.#insist('the queue does not answer', async () => {
      const SCHEDULER = this.#o.objects.namespace('SCHEDULER') as never;
      for (const replica of this.#members) await schedulerOf({ SCHEDULER }).absent(replica, absent);
    });
  }

  async start(): Promise<void> {
    if (this.#over) return;
    await this.#kept.start();
    await this.#join();
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#kept.stop();
  }

  /** Waits until its replicas answer the first process, which loads their weights, and lets the queue have them. */
  async #join(gone?: AbortSignal): Promise<void> {
    for (const replica of this.#members) {
      await this.#insist(
        `replica ${replica} does not answer`,
        async () => {
          gone?.throwIfAborted();
          const answer = await this.#o.objects.replica(replica).fetch('https://replica/ready');
          if (!answer.ok) throw new Error(await answer.text());
        },
        gone,
      );
    }
    if (!this.#over) await this.absent(false);
  }

  /** Tries until it works, for as long as a start of either process takes; `gone`: it cannot any more. */
  async #insist<T>(what: string, work: () => Promise<T>, gone?: AbortSignal): Promise<T | undefined> {
    for (let tries = 1; ; tries++) {
      if (this.#over) return undefined;
      try {
        return await work();
      } catch (cause) {
        if (gone?.aborted || tries === PROBES) throw new Error(`${what}: ${cause instanceof Error ? cause.message : cause}`, { cause });
        await pause(PROBE_MS);
      }
    }
  }
}
