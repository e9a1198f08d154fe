/** `tsx bench/soak/models.ts`: three models and an encoder in one server, asked at random; exits 1 when an answer is another than alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { ROOT } from '../../cli/build.ts';
import { bytesOf, createdOf } from '../../cli/hub/known.ts';
import { startServer } from '../../cli/start.ts';
import { describeMachine, machine } from '../machine.ts';
import { answersAlone, mixed } from './mixed.ts';

const program = new Command('tsx bench/soak/models.ts')
  .description(
    'Several models in one server, asked at random; by default pebble, the same packed from its safetensors, and its base model.',
  )
  .option('--clients <n>', 'that ask at once', Number, 16)
  .option('--seconds <n>', 'how long', Number, 120)
  .option('--models <paths...>', 'beside pebble', [join(ROOT, 'models/pebble/hf'), join(ROOT, 'models/pebble/base')])
  .option('--models-mb <n>', 'what they may hold together beside pebble', Number, 200)
  .option('--memory-mb <n>', 'what each may hold', Number, 128)
  .option('--embedder <folder>', 'an embedding pack; default: the shipped dunlin')
  .parse();
const { clients, seconds, models, modelsMb, memoryMb, embedder } = program.opts<{
  clients: number;
  seconds: number;
  models: string[];
  modelsMb: number;
  memoryMb: number;
  embedder?: string;
}>();
const vars = { MEMORY_MB: String(memoryMb) };

const folder = mkdtempSync(join(tmpdir(), 'turnstone-soak-models-'));
const known = models.map((path, i) => ({ id: `model-${i + 1}`, path, bytes: bytesOf(path), created: createdOf(path) }));
const alone = new Map<string, string[]>();
for (const { id, path } of known) {
  const one = await startServer({ port: 0, model: path, persist: join(folder, id), vars, stages: 1 });
  alone.set(id, await answersAlone(one.url, one.pack.id));
  await one.stop();
}
const server = await startServer({
  ...{ port: 0, persist: join(folder, 'state'), vars, embedder: { model: embedder } },
  models: { known: () => known, allMb: modelsMb, keepAliveMs: 60_000 },
});
let ok = false;
try {
  await server.embedder?.start();
  alone.set(server.pack.id, await answersAlone(server.url, server.pack.id));
  const began = performance.now();
  const { answers, wrong } = await mixed({ url: server.url, alone, clients, forMs: seconds * 1000, random: Math.random, embeddings: true });
  const page = await (await fetch(`${server.url}/metrics`)).text();
  console.log(describeMachine(machine()));
  console.log(
    `${clients} clients, ${((performance.now() - began) / 1000).toFixed(0)} s, answers: ${[...answers].map((a) => a.join(' ')).join(', ')}`,
  );
  for (const line of page.split('\n')) if (/^turnstone_model_(un)?loads_total/.test(line)) console.log(line);
  for (const line of wrong.slice(0, 10)) console.log(line);
  ok = wrong.length === 0;
  console.log(ok ? 'ok: every answer is the one of a server with that model alone' : `FAILED: ${wrong.length} answers`);
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(ok ? 0 : 1);
