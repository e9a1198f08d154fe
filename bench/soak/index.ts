/** `tsx bench/soak/index.ts`: 500 sessions over 4 replicas for three minutes; exits 1 when anything leaked, grew or was wrong. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { startServer } from '../../cli/start.ts';
import { heapOf } from '../isolate.ts';
import { describeMachine, machine } from '../machine.ts';
import { workerds } from '../process.ts';
import { flat, resultLines, soak } from './soak.ts';

const program = new Command('tsx bench/soak/index.ts')
  .description('Many conversations over several replicas, their connections lost at random.')
  .option('--sessions <n>', 'conversations', Number, 500)
  .option('--replicas <n>', 'replicas of the model', Number, 4)
  .option('--stages <n>', 'the model is cut into so many isolates, and has one replica', Number)
  .option('--seconds <n>', 'how long they take together', Number, 180)
  .option('--waves <n>', 'they come in so many waves', Number, 5)
  .parse();
const { sessions, seconds, waves, stages, ...o } = program.opts<
  Record<'sessions' | 'replicas' | 'seconds' | 'waves', number> & { stages?: number }
>();
const replicas = stages === undefined ? o.replicas : 1;

const before = new Set(workerds());
const persist = mkdtempSync(join(tmpdir(), 'turnstone-soak-'));
const server = await startServer({
  port: 0,
  persist,
  stages,
  inspect: true,
  vars: { REPLICAS: String(replicas) },
  say: (line) => console.error(line),
});
const stagePids = () => [...(server.stages?.pids().values() ?? [])];
const pid = workerds().find((p) => !before.has(p) && !stagePids().includes(p)) ?? 0;
const heap = () => heapOf(server.inspector() ?? '', 'turnstone', async () => (await fetch(`${server.url}/ready`)).text());
let ok = false;
try {
  const result = await soak({
    server,
    pid,
    stages: stagePids,
    heap,
    replicas,
    sessions,
    seconds,
    waves,
    say: (line) => console.error(line),
  });
  ok = result.wrong.length === 0 && result.leaks.length === 0 && flat(result);
  console.log(describeMachine(machine()));
  for (const line of resultLines(result)) console.log(line);
  console.log(ok ? 'ok' : 'FAILED');
} finally {
  await server.stop();
  rmSync(persist, { recursive: true, force: true });
}
process.exit(ok ? 0 : 1);
