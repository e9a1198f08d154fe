import { useClock } from './clock.ts';
import { inWorkerd } from './contenders.ts';
import { randomIds } from './engine/runner.ts';
import { localPack } from '../cli/packs.ts';
import { realModel } from './real-models.ts';
import { BenchWorker } from './workerd/host.ts';
useClock('cpu');
const worker = await BenchWorker.start();
const pack = await localPack(realModel('qwen-coder').path, console.log);
await worker.upload(pack);
await worker.load({ id: pack.id, context: 1024, sequences: 16 });
const c = inWorkerd(worker);
let seed = 1;
const ids = (n: number) => randomIds(n, 150000, seed++);
for (let round = 0; round < 4; round++) {
  const out: Record<string, string> = {};
  for (const n of [128, 512]) out[`pp${n}`] = (await c.prefill(ids(n)) / n).toFixed(2) + ' ms/token';
  for (const b of [1, 2, 4, 8, 16]) { const r = await c.batch(Array.from({ length: b }, () => ids(16)), 12); out[`b${b}`] = (r.ms / 12).toFixed(1) + ' ms/step'; }
  console.log(JSON.stringify(out));
}
await worker.stop(); process.exit(0);
