import { build } from './build.ts';
import type { LocalPack } from './packs.ts';
import { serviceConfig, type Vars } from './workerd/config.ts';
import type { Home } from './workerd/home.ts';
import { Kept } from './workerd/keep.ts';
import { startWorkerd } from './workerd/process.ts';

export interface Npu {
  /** As workerd writes it: `unix:` and a path, or host:port of one that was given. */
  address: string;
  /** Whoever asks it must present this. */
  secret: string;
  pid(): number | undefined;
  stop(): Promise<void>;
}

/** Starts the accelerator's Worker in a process of its own (a computation there must not block the replicas' thread) and resolves when it listens. */
export async function startNpu(
  home: Home,
  pack: LocalPack,
  vars: Vars & { NPU_SECRET: string },
  say: (line: string) => void,
): Promise<Npu> {
  await build(say, ['accelerator']);
  const address = home.sockets.address('npu');
  const config = serviceConfig({ folder: 'accelerator', pack, vars: { NPU_DEVICE: 'maia-200', ...vars, MODEL_ID: pack.id }, address });
  const kept = new Kept({ name: 'the accelerator', say, start: () => startWorkerd({ config, guard: home.guard }) });
  await kept.start();
  return { address, secret: vars.NPU_SECRET, pid: () => kept.process?.pid, stop: () => kept.stop() };
}
