/**
 * Where a step's time goes: a real model in this process, each op of the backend timed, decode and then a prompt. A kernel's way depends on
 * this Node's V8: dot-add needs 22 or newer.
 *
 *   npx tsx bench/ops.ts [--model smollm2] [--streams 1] [--depth 16] [--prompt 128]
 */
import { parseArgs } from 'node:util';
import type { Weight } from '../engine/backend.ts';
import { inNode } from './contenders.ts';
import { randomIds } from './engine/runner.ts';
import { describeMachine, machine } from './machine.ts';
import { packOf } from './model.ts';
import { REAL_MODELS, type RealName, realModel } from './real-models.ts';

const { values: o } = parseArgs({
  options: {
    ...{ model: { type: 'string', default: 'smollm2' }, streams: { type: 'string', default: '1' } },
    ...{ prompt: { type: 'string', default: '128' }, depth: { type: 'string', default: '16' } },
  },
});
const [STEPS, VOCAB] = [64, 32768];
const TIMED = ['embed', 'norm', 'matmul', 'ropeStore', 'attention', 'glu', 'addNorm', 'editLogits', 'topk', 'read', 'write'] as const;

if (!(o.model in REAL_MODELS)) throw new Error(`--model must be one of ${Object.keys(REAL_MODELS).join(', ')}`);
const { path, missing } = realModel(o.model as RealName);
if (missing) throw new Error(missing);
const streams = Number(o.streams);
const length = Number(o.prompt);
const { folder } = await packOf(path, console.error);
const node = await inNode(folder, { context: 1280, sequences: 16 });

const took = new Map<string, number[]>();
const backend = node.runner.engine.backend as unknown as Record<string, (...args: unknown[]) => unknown>;
for (const op of TIMED) {
  const run = backend[op];
  backend[op] = (...args) => {
    const w = args[2] as Weight;
    const name = op === 'matmul' ? `${op} ${w.format} [${w.N}, ${w.K}]` : op;
    const began = performance.now();
    const result = run(...args);
    const ms = performance.now() - began;
    const times = took.get(name) ?? [];
    times.push(ms);
    took.set(name, times);
    return result;
  };
}

const processor = () => Object.values(process.cpuUsage()).reduce((a, b) => a + b, 0) / 1000;

/** Runs it three times, and tells of the last: the processor's time, and each op's by the quickest eighth of its calls, which others disturbed least. */
async function tell(what: string, steps: number, run: (round: number) => Promise<() => Promise<unknown>>): Promise<void> {
  let ms = 0;
  for (let round = 0; round < 3; round++) {
    const timed = await run(round);
    took.clear();
    const before = processor();
    await timed();
    ms = processor() - before;
    node.runner.drop();
  }
  console.log(`\n${what}: ${(ms / steps).toFixed(2)} ms of processor time\n`);
  for (const [name, times] of took) {
    const quick = times.sort((a, b) => a - b)[times.length >> 3];
    const calls = times.length / steps;
    console.log(`${name.padEnd(30)} ${calls.toFixed(0).padStart(5)} calls ${(calls * quick).toFixed(3).padStart(9)} ms`);
  }
}

console.log(`${REAL_MODELS[o.model as RealName].name}; ${describeMachine(machine())}; V8 ${process.versions.v8}, ${node.variant}`);
await tell(`a step of ${streams} together, from depth ${o.depth} on`, STEPS, async (round) => {
  const prompts = Array.from({ length: streams }, (_, i) => randomIds(Number(o.depth), VOCAB, 1 + round * 16 + i));
  await node.runner.prefill(prompts, STEPS + 8);
  return () => node.runner.decode(STEPS);
});
await tell(`a prompt of ${length} tokens`, 1, async (round) => () => node.runner.prefill([randomIds(length, VOCAB, 100 + round)], 2));
process.exit(0);
