/** The stages of a model that is larger than an isolate: a workerd process each, with a core and memory of its own. The replica calls them. */
import type { StagesPlan } from '../policy/stages.ts';
import type { LocalPack } from './packs.ts';
import { type ServerConfig, stageConfig, type Vars } from './workerd/config.ts';
import type { Home } from './workerd/home.ts';
import { Kept } from './workerd/keep.ts';
import { startWorkerd, type Workerd } from './workerd/process.ts';

const nameOf = (stage: number) => `stage-${stage}`;

/** Which stages are elsewhere than in the replica's isolate, and where. */
export const stagesElsewhere = (plan: StagesPlan, { sockets }: Home): ServerConfig['stages'] =>
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

/** Starts them and resolves when all listen. One that ends is started again; the replica opens it anew by itself. */
export async function startStages(
  plan: StagesPlan,
  o: { home: Home; pack: LocalPack; vars: Vars; inspect?: boolean; say(line: string): void },
): Promise<StageProcesses> {
  const { sockets, guard } = o.home;
  const kept = stagesElsewhere(plan, o.home).map(({ stage, name }) => ({
    stage,
    kept: new Kept({
      name: `stage ${stage}`,
      say: o.say,
      start: () =>
        startWorkerd({ config: stageConfig({ vars: o.vars, pack: o.pack, name }), guard, debug: sockets.path(name), inspect: o.inspect }),
      restarted: async () => o.say(`stage ${stage} computes again.`),
    }),
  }));
  const stop = async () => {
    await Promise.all(kept.map((k) => k.kept.stop()));
  };
  try {
    await Promise.all(kept.map((k) => k.kept.start()));
  } catch (error) {
    await stop();
    throw error;
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
