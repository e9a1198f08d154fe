/** The stages of a model that is larger than an isolate: a workerd process each, with a core and memory of its own. The replica calls them. */
import { setTimeout as pause } from 'node:timers/promises';
import type { StagesPlan } from '../policy/stages.ts';
import type { LocalPack } from './packs.ts';
import { type StageElsewhere, stageConfig, type Vars } from './workerd/config.ts';
import { fetchSocket } from './workerd/fetch.ts';
import type { Home } from './workerd/home.ts';
import { Kept } from './workerd/keep.ts';
import { startWorkerd, type Workerd } from './workerd/process.ts';

/** How long a stage may not answer: what it computes at once takes a fraction of a second, on a slow machine some. */
const PATIENCE_MS = 10_000;

const nameOf = (stage: number) => `stage-${stage}`;
const aliveOf = (name: string) => `${name}-alive`;

/** Which stages are elsewhere than in the replica's isolate, and where. */
export const stagesElsewhere = (plan: StagesPlan, { sockets }: Home): StageElsewhere[] =>
  plan.stages.flatMap(({ replica }, stage) =>
    replica ? [] : [{ stage, name: nameOf(stage), address: sockets.address(nameOf(stage)), classes: ['Stage'] }],
  );

export interface StageProcesses {
  readonly plan: StagesPlan;
  /** Process ids of those that run, by the stage's number. */
  pids(): Map<number, number>;
  /** Their inspectors' host:port, when these were asked for. */
  inspectors(): Map<number, string>;
  stop(): Promise<void>;
}

/** Starts them and resolves when all listen. One that ends is started again, and so is one that hangs; the replica opens it anew by itself. */
export async function startStages(
  plan: StagesPlan,
  o: { home: Home; pack: LocalPack; vars: Vars; inspect?: boolean; patienceMs?: number; say(line: string): void },
): Promise<StageProcesses> {
  const { sockets, guard } = o.home;
  const kept = stagesElsewhere(plan, o.home).map(({ stage, name }) => ({
    stage,
    name,
    kept: new Kept({
      name: `stage ${stage}`,
      say: o.say,
      start: () =>
        startWorkerd({
          ...{ config: stageConfig({ vars: o.vars, pack: o.pack, name, alive: sockets.address(aliveOf(name)) }), guard },
          ...{ debug: sockets.path(name), inspect: o.inspect },
        }),
      restarted: async () => o.say(`stage ${stage} computes again.`),
    }),
  }));
  const over = new AbortController();
  const stop = async () => {
    over.abort();
    await Promise.all(kept.map((k) => k.kept.stop()));
  };
  try {
    await Promise.all(kept.map((k) => k.kept.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  // one that stands still in a debugger does not hang
  if (!o.inspect)
    for (const { stage, name, kept: process } of kept) {
      void watch(process, sockets.path(aliveOf(name)), o.patienceMs ?? PATIENCE_MS, over.signal, () =>
        o.say(`stage ${stage} does not answer.`),
      );
    }
  const running = <T>(of: (w: Workerd) => T) =>
    new Map(kept.flatMap(({ stage, kept: { process } }) => (process ? [[stage, of(process)] as const] : [])));
  return {
    plan,
    stop,
    pids: () => running((w) => w.pid),
    inspectors: () => (o.inspect ? running((w) => `127.0.0.1:${w.ports.get('inspector')}`) : new Map()),
  };
}

/** Ends a process that lives and twice in a row does not answer in time. Any answer will do, and a connection that fails is of one that ends. */
async function watch(kept: Kept, socket: string, patienceMs: number, over: AbortSignal, hangs: () => void): Promise<void> {
  for (let missed = 0; ; ) {
    await pause(patienceMs / 2, undefined, { signal: over, ref: false }).catch(() => {});
    if (over.aborted) return;
    const now = kept.process;
    const late = AbortSignal.timeout(patienceMs);
    await fetchSocket(socket, 'http://stage/', { signal: late }).then(
      (answer) => answer.body?.cancel(),
      () => {},
    );
    missed = late.aborted && now !== undefined && now === kept.process ? missed + 1 : 0;
    if (missed < 2 || over.aborted) continue;
    hangs();
    process.kill(now?.pid as number, 'SIGKILL');
    missed = 0;
  }
}
