/**
 * From a request to its first token, over HTTP: on the wall and in the processor time of the server's process, by the length of the prompt, after
 * 1,000 cached tokens too. The SmolLM2 shape, or the shipped model.
 *
 *   npx tsx bench/ttft.ts [--model shape|pebble] [--rounds 8]
 */
import { parseArgs } from 'node:util';
import { start, useClock } from './clock.ts';
import { randomIds } from './engine/runner.ts';
import { complete } from './http.ts';
import { describeMachine, machine } from './machine.ts';
import { randomModel } from './model.ts';
import { workerds } from './process.ts';
import { median, quantile } from './stats.ts';
import { isolated } from './suites/serving.ts';

const { values: o } = parseArgs({ options: { model: { type: 'string', default: 'shape' }, rounds: { type: 'string', default: '8' } } });
if (o.model !== 'shape' && o.model !== 'pebble') throw new Error('--model must be shape or pebble');
const VOCAB = 4096;
const [CACHED, STREAMED] = [1000, 17];
const LENGTHS = [1, 16, 32, 64, 128];
let seed = 40_000;
const fresh = (n: number): number[] => randomIds(n, VOCAB, seed++);

useClock('cpu');
const gguf = o.model === 'shape' ? await randomModel('smollm2-135m', 'Q4_0', console.error) : undefined;
const others = new Set(workerds());
await isolated(gguf, { SPECULATE: '0' }, async (server) => {
  const pids = workerds().filter((pid) => !others.has(pid));
  const long = fresh(CACHED);
  await complete(server.url, server.pack.id, long, 2);
  const took = new Map<string, { wall: number[]; cpu: number[] }>();
  const steps: number[] = [];
  const ask = async (what: string, prompt: number[], tokens: number, counted: boolean) => {
    const elapsed = start(pids);
    const { ttft, span } = await complete(server.url, server.pack.id, prompt, tokens);
    const cpu = elapsed();
    const times = took.get(what) ?? { wall: [], cpu: [] };
    if (!counted) return;
    times.wall.push(ttft);
    times.cpu.push(cpu);
    took.set(what, times);
    if (tokens > 1) steps.push(span / (tokens - 1));
  };
  for (let round = -2; round < Number(o.rounds); round++) {
    for (const n of LENGTHS) await ask(`${n} tokens`, fresh(n), 1, round >= 0);
    for (const n of [1, 16]) await ask(`${CACHED} cached tokens and ${n}`, [...long, ...fresh(n)], 1, round >= 0);
    await ask(`the same and 1, ${STREAMED} tokens of answer`, [...long, ...fresh(1)], STREAMED, round >= 0);
  }
  console.log(describeMachine(machine()));
  console.log('\nms                                        first token    quickest   processor    quickest');
  const cell = (x: number) => x.toFixed(1).padStart(12);
  for (const [what, { wall, cpu }] of took)
    console.log(`${what.padEnd(40)}${cell(median(wall))}${cell(quantile(wall, 0))}${cell(median(cpu))}${cell(quantile(cpu, 0))}`);
  const [one, many] = [...took].filter(([what]) => /and 1/.test(what) && !what.endsWith('16')).map(([, { cpu }]) => median(cpu));
  const step = (many - one) / (STREAMED - 1);
  console.log(
    `a step there: ${median(steps).toFixed(1)} on the wall, ${step.toFixed(1)} of processor time: a cached prefix is ${(one / step).toFixed(2)} steps`,
  );
});
process.exit(0);
