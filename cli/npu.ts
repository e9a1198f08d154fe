import { fork } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './build.ts';

export interface Npu {
  /** host:port on loopback. */
  address: string;
  pid: number;
  /** Whoever asks it must present this. */
  secret: string;
  stop(): Promise<void>;
}

/** Starts the accelerator's process and resolves when it listens. Its R2 must hold the pack already. */
export async function startNpu(env: Record<string, string> & { NPU_SECRET: string }): Promise<Npu> {
  const child = fork(join(ROOT, 'cli/npu-process.ts'), {
    execArgv: ['--import', 'tsx'],
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    cwd: ROOT,
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const address = await new Promise<string>((resolve, reject) => {
    child.once('message', (m) => resolve((m as { address: string }).address));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the accelerator's process ended with ${code} before it listened`)));
  });
  return {
    address,
    pid: child.pid as number,
    secret: env.NPU_SECRET,
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
    },
  };
}
