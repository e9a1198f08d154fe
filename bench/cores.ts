/**
 * What several processes at once get of this machine: reading from memory that no cache holds, and multiplying what is in registers, each in
 * a workerd of its own. Where they read no faster together than one alone, models that wait for memory gain nothing from a second process or stage.
 *
 *   npx tsx bench/cores.ts [--processes 2] [--rounds 7]
 */
import { parseArgs } from 'node:util';
import { useClock } from './clock.ts';
import { describeMachine, machine } from './machine.ts';
import { median } from './stats.ts';
import { BenchWorker } from './workerd/host.ts';

const { values: o } = parseArgs({ options: { processes: { type: 'string', default: '2' }, rounds: { type: 'string', default: '7' } } });
const [processes, rounds] = [Number(o.processes), Number(o.rounds)];
if (!(processes >= 1 && processes <= 64)) throw new Error('--processes must be 1 to 64');

const MIB = 2 ** 20;
/** What is done, units of it a call, and how often a process does it. */
const WORK = [
  { name: 'reading 469 MiB, GB/s', order: { kind: 'read', bytes: 469 * MIB, iterations: 4 }, units: (4 * 469 * MIB) / 1e6 },
  { name: 'reading 256 KiB, GB/s', order: { kind: 'read', bytes: MIB / 4, iterations: 65_536 }, units: (65_536 * MIB) / 4e6 },
  {
    name: 'dot-adds of i8 in registers, G/s',
    order: { kind: 'i8dot', bytes: 50_000, iterations: 4_000 },
    units: (50_000 * 4_000 * 128) / 1e6,
  },
] as const;

useClock('wall');
const workers: BenchWorker[] = [];
for (let i = 0; i < processes; i++) workers.push(await BenchWorker.start());
console.log(`${describeMachine(machine())}\n`);
console.log(`| | one process | ${processes} together | ratio |\n| --- | ---: | ---: | ---: |`);
for (const { name, order, units } of WORK) {
  const [alone, together]: number[][] = [[], []];
  for (let round = -1; round < rounds; round++) {
    const one = units / (await workers[0].probe(order)).ms;
    const each = await Promise.all(workers.map((w) => w.probe(order)));
    if (round < 0) continue;
    alone.push(one);
    together.push(each.reduce((sum, { ms }) => sum + units / ms, 0));
  }
  const [a, b] = [median(alone), median(together)];
  console.log(`| ${name} | ${a.toFixed(1)} | ${b.toFixed(1)} | ${(b / a).toFixed(2)} |`);
}
process.exit(0);
