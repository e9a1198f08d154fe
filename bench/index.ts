/** `npm run bench`: measures Turnstone against the machine, against itself and against its peers. */
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { useClock } from './clock.ts';
import { describeMachine, machine } from './machine.ts';
import { publish, unpublishable } from './publish.ts';
import { type Bench, figureLines, type Report, reached, targetLines } from './report.ts';
import { withSpread } from './stats.ts';
import { adapters } from './suites/adapters.ts';
import { embeddings } from './suites/embeddings.ts';
import { engine } from './suites/engine.ts';
import { gate } from './suites/gate.ts';
import { kernels } from './suites/kernels.ts';
import { peers } from './suites/peers.ts';
import { quality } from './suites/quality.ts';
import { real } from './suites/real.ts';
import { roofline } from './suites/roofline.ts';
import { serving } from './suites/serving.ts';
import { sessions } from './suites/sessions.ts';
import { speculationTargets } from './suites/speculation.ts';
import { stages } from './suites/stages.ts';
import { start } from './suites/start.ts';
import { BenchWorker } from './workerd/host.ts';

interface Suite {
  about: string;
  rounds: number;
  run(bench: Bench, worker: BenchWorker): Promise<unknown>;
}

const SUITES: Record<string, Suite> = {
  roofline: { about: 'what one core can do at most: memory, int8, f32', rounds: 5, run: roofline },
  kernels: { about: 'matrix products, attention and top-k in real layer shapes, beside those limits', rounds: 5, run: kernels },
  engine: { about: 'prefill and decode by length, depth and batch, in workerd and in Node', rounds: 5, run: engine },
  speculation: {
    about: 'prompt-lookup speculation on ten tasks, of the shipped model or of real ones',
    rounds: 3,
    run: speculationTargets,
  },
  adapters: {
    about: 'eight sequences over four LoRA adapters beside the same on the base alone, in Node',
    rounds: 5,
    run: (bench) => adapters(bench),
  },
  serving: { about: 'over HTTP: latencies, arrivals, start, memory', rounds: 3, run: (bench) => serving(bench) },
  start: { about: 'npm start with the shipped model: time to ready, processes, memory', rounds: 3, run: (bench) => start(bench) },
  sessions: {
    about: 'a session of 1,000 tokens on a cold replica: its pages restored against computed again',
    rounds: 3,
    run: (bench) => sessions(bench),
  },
  embeddings: { about: 'POST /v1/embeddings: latency for 1, 8, 32 texts, resident memory', rounds: 1, run: (bench) => embeddings(bench) },
  peers: { about: 'native llama.cpp, wllama, ONNX Runtime Web on the same weights', rounds: 3, run: peers },
  real: { about: 'real models in their own numbers: prefill, decode, several streams, beside native llama.cpp', rounds: 3, run: real },
  quality: { about: 'perplexity of real models beside llama.cpp, and what each part loses', rounds: 8, run: (bench) => quality(bench) },
  stages: {
    about: 'a model larger than an isolate: in stages, in one isolate with more memory, in llama.cpp; what a hop costs',
    rounds: 3,
    run: stages,
  },
  gate: { about: 'the targets, in under five minutes; exits 1 when one is missed', rounds: 3, run: gate },
};

const program = new Command('npm run bench --')
  .description('Measures. Nothing else should run on the machine meanwhile; the load average is written down.')
  .argument('[suite]', Object.keys(SUITES).join(', '), 'engine')
  .option('--json <file>', 'writes the report')
  .option('--rounds <n>', 'runs of each measurement')
  .option('--only <models>', 'quality, real, speculation: measures these models alone, comma-separated')
  .option('--clock <wall|cpu>', "what is timed: cpu, the processes' own time, for machines that do other work too (Linux)", 'wall')
  .option('--publish', 'writes the report into docs/performance, and docs/performance.md anew')
  .addHelpText(
    'after',
    `\nSuites:\n${Object.entries(SUITES)
      .map(([name, s]) => `  ${name.padEnd(12)} ${s.about}`)
      .join('\n')}`,
  )
  .showHelpAfterError();
program.parse();

const name = program.args[0] ?? 'engine';
const options = program.opts<{ json?: string; rounds?: string; publish?: boolean; clock: string; only?: string }>();
const suite = SUITES[name];
if (!suite) program.error(`there is no suite "${name}"; there are ${Object.keys(SUITES).join(', ')}`);
const rounds = options.rounds === undefined ? suite.rounds : Number(options.rounds);
if (!Number.isInteger(rounds) || rounds < 1 || rounds > 100) program.error('--rounds must be an integer in 1..100');

if (options.clock !== 'wall' && options.clock !== 'cpu') program.error('--clock must be wall or cpu');
useClock(options.clock === 'cpu' ? 'cpu' : 'wall');

const described = machine();
const unfit = options.publish && unpublishable({ suite: name, machine: described, command: options.clock === 'cpu' ? '--clock cpu' : '' });
if (unfit) program.error(`cannot publish: ${unfit}`);

const report: Report = {
  suite: name,
  machine: described,
  command: `npm run bench -- ${name} --rounds ${rounds}${options.only ? ` --only ${options.only}` : ''}${options.clock === 'cpu' ? ' --clock cpu' : ''}`,
  seconds: 0,
  figures: [],
  targets: [],
  notes: [],
};
const tty = process.stderr.isTTY;
let told = 0;
const bench: Bench = {
  rounds,
  ...(options.only && { only: options.only.split(',') }),
  progress(line) {
    const now = performance.now();
    if (tty) process.stderr.write(`\r\x1b[K${line}`);
    else if (now - told > 10_000) {
      told = now;
      console.error(line);
    }
  },
  figure(f) {
    report.figures.push(f);
    if (!tty) console.error(`${f.name}: ${withSpread(f.value, f.precision)} ${f.unit} ${f.note ?? ''}`);
  },
  target: (t) => void report.targets.push(t),
  note: (line) => void report.notes.push(line),
};

const began = performance.now();
const worker = await BenchWorker.start();
let failure: unknown;
try {
  await suite.run(bench, worker);
} catch (error) {
  failure = error;
} finally {
  await worker.stop();
}
report.seconds = Math.round((performance.now() - began) / 1000);
if (tty) process.stderr.write('\r\x1b[K');
console.log(`${describeMachine(report.machine)}\n`);
for (const line of [...figureLines(report.figures), '', ...report.notes]) console.log(line);
if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 1)}\n`);
if (options.publish && !failure) publish(report);
if (failure) {
  console.error(failure instanceof Error ? failure.stack : failure);
  process.exit(1);
}
if (report.targets.length > 0) {
  const missed = report.targets.filter((t) => !reached(t));
  console.log(`\n${targetLines(report.targets).join('\n')}`);
  console.log(missed.length === 0 ? '\nAll targets are reached.' : `\n${missed.length} of ${report.targets.length} targets are missed.`);
  process.exit(missed.length === 0 ? 0 : 1);
}
process.exit(0);
