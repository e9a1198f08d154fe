/**
 * More workerd processes beside the first. workerd runs all isolates of a process on one thread, so that replicas compute at
 * the same time only in processes of their own. Queue, sessions and routes stay in the first one; Miniflare's registry lets
 * objects of one process call those of another as if they were its own.
 */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Log, LogLevel, Miniflare, type MiniflareOptions, type WorkerOptions } from 'miniflare';
import { replicaOf } from '../durable-objects/replica/port.ts';
import { schedulerOf } from '../durable-objects/scheduler/port.ts';
import type { LocalPack } from './packs.ts';
import { storePack } from './store.ts';
import { Supervisor } from './supervise.ts';

export const MAX_PROCESSES = 16;
const PROBE_MS = 50;
const PROBES = 600;
const STARTS = 5;

export interface Layout {
  /** 1..MAX_PROCESSES, the first one counted. */
  processes: number;
  /** Of each process; replica r lives in process r modulo `processes`. */
  replicas: number;
}

export interface ProcessesOptions extends Layout {
  /** The first process, which listens already. */
  first: Miniflare;
  /** The Worker as the first process runs it. */
  worker: WorkerOptions;
  pack: LocalPack;
  /** Where the server keeps its data. */
  persist: string;
  /** Where the processes find each other; absent where there is one. */
  registry?: string;
  /** The processes are started when this settles. */
  after?: Promise<unknown>;
  say: (line: string) => void;
}

const scriptOf = (number: number) => `turnstone-${number}`;
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
/** Replicas of a process. */
const membersOf = (number: number, { processes, replicas }: Layout) => range(0, replicas).map((i) => i * processes + number);
const object = (className: string, scriptName?: string) => ({ className, scriptName, useSQLite: true });

/** What the first process is told of the others: nothing where there are none. */
export function layoutOptions(layout: Layout, registry: string | undefined) {
  if (registry === undefined) return { shared: {}, bindings: {}, objects: {} };
  const elsewhere = range(1, layout.processes).flatMap((p) =>
    membersOf(p, layout).map((r) => [`REPLICA_${r}`, object('Replica', scriptOf(p))] as const),
  );
  return {
    shared: { unsafeDevRegistryPath: registry },
    bindings: { REPLICAS: String(layout.processes * layout.replicas), REPLICAS_HERE: String(layout.replicas) },
    objects: Object.fromEntries(elsewhere),
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
  readonly #number: number;
  readonly #members: string[];
  readonly #supervisor: Supervisor;
  #miniflare?: Miniflare;
  #over = false;

  constructor(o: ProcessesOptions, number: number) {
    this.#o = o;
    this.#number = number;
    this.#members = membersOf(number, o).map(String);
    this.#supervisor = new Supervisor(o.say, `workerd ${number + 1} of ${o.processes}`, {
      ended: () => this.absent(true),
      started: async (gone) => {
        await this.#join(gone);
        o.say(`workerd ${number + 1} of ${o.processes} computes again.`);
      },
    });
  }

  /** Takes its replicas out of the queue, or in again. What they ran when they ended is lost, or its session asks again. */
  async absent(absent: boolean): Promise<void> {
    await this.#insist('the queue does not answer', async () => {
      const SCHEDULER = (await this.#o.first.getDurableObjectNamespace('SCHEDULER', 'turnstone')) as never;
      for (const replica of this.#members) await schedulerOf({ SCHEDULER }).absent(replica, absent);
    });
  }

  async start(): Promise<void> {
    if (this.#over) return;
    const { worker, persist, pack, registry } = this.#o;
    const r2 = join(persist, `r2-${this.#number}`); // two processes cannot share one on disk
    await storePack(r2, pack, () => {});
    if (this.#over) return;
    const options: MiniflareOptions = {
      workers: [
        { name: 'closed', modules: true, script: "export default { fetch: () => new Response('', { status: 404 }) }" },
        {
          ...worker,
          name: scriptOf(this.#number),
          durableObjects: {
            OWN: object('Replica'), // not REPLICA: the routes, which nobody should ask here, find none
            SESSION: object('Session', 'turnstone'),
            SCHEDULER: object('Scheduler', 'turnstone'),
          },
          serviceBindings: worker.serviceBindings?.NPU ? { NPU: worker.serviceBindings.NPU } : {},
        },
      ],
      host: '127.0.0.1',
      port: 0,
      cf: false,
      r2Persist: r2,
      durableObjectsPersist: join(persist, `do-${this.#number}`),
      unsafeDevRegistryPath: registry,
      log: new Log(LogLevel.ERROR),
      handleRuntimeStdio: this.#supervisor.handleRuntimeStdio,
    };
    for (let tries = 1; !this.#over; tries++) {
      const miniflare = new Miniflare(options);
      this.#miniflare = miniflare;
      try {
        await miniflare.ready;
        this.#supervisor.watch(miniflare, options); // from here on it is the supervisor that starts it again
        break;
      } catch (error) {
        if (tries === STARTS || this.#over) throw error;
        await miniflare.dispose().catch(() => {});
      }
    }
    await this.#join();
  }

  async stop(): Promise<void> {
    this.#over = true;
    this.#supervisor.stop();
    await this.#miniflare?.dispose().catch(() => {}); // rejects with why it never started, which was said
  }

  /** Waits until its replicas answer the first process, which loads their weights, and lets the queue have them. */
  async #join(gone?: AbortSignal): Promise<void> {
    for (const replica of this.#members) {
      await this.#insist(
        `replica ${replica} does not answer`,
        async () => {
          gone?.throwIfAborted();
          const namespace = await this.#o.first.getDurableObjectNamespace(`REPLICA_${replica}`, 'turnstone');
          const answer = await replicaOf({ REPLICA: namespace as never }, replica).fetch('https://replica/ready');
          if (!answer.ok) throw new Error(await answer.text());
        },
        gone,
      );
    }
    if (!this.#over) await this.absent(false);
  }

  /** Tries until it works, for as long as a start of either process takes; `gone`: it cannot any more. */
  async #insist(what: string, work: () => Promise<void>, gone?: AbortSignal): Promise<void> {
    for (let tries = 1; !this.#over; tries++) {
      try {
        return await work();
      } catch (cause) {
        if (gone?.aborted || tries === PROBES) throw new Error(`${what}: ${cause instanceof Error ? cause.message : cause}`, { cause });
        await pause(PROBE_MS);
      }
    }
  }
}
