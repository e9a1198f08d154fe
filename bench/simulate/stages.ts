/**
 * What a model in stages gives over how far apart they are: `tsx bench/simulate/stages.ts` writes docs/stages-simulation.md; with `draw` only
 * the page, from the results of the last run.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { lineChart, type Series } from '../svg.ts';
import { OTHERS } from './others.ts';
import { type StepCost, simulateStaged } from './staged.ts';

/** Qwen2.5-Coder-0.5B Q4_K_M in one isolate, as `npm run bench -- stages` measures its steps; the head's share is reckoned from what its products take. */
const COST: StepCost = {
  layers: [
    ...([
      [1, 24.4],
      [2, 30],
      [4, 34.2],
      [5, 60.5],
      [8, 76.6],
      [12, 105],
      [16, 141],
      [32, 221],
    ] as const),
  ],
  ...{ step: 24.4, token: 6.9, headStep: 11, row: 1.3 },
};
const REPEATS = 0.8;
const HOPS = [0.1, 0.3, 1, 2, 5, 10, 20] as const;
const STAGES = [2, 3, 4, 5, 6, 8] as const;
const STREAMS = [1, 4, 8, 16, 64] as const;
const PROMPT = 1000;

interface Run {
  stages: number;
  hop: number;
  streams: number;
  /** Tokens a second of all streams, plain and with speculation; of drafted tokens, how many were accepted. */
  plain: number;
  speculating: number;
  accepted: number;
}

interface Results {
  cost: StepCost;
  repeats: number;
  runs: Run[];
  /** Tokens a second of a prompt of PROMPT tokens. */
  prefill: { stages: number; hop: number; rate: number }[];
}

async function measure(): Promise<Results> {
  const shared = { cost: COST, repeats: REPEATS };
  const runs: Run[] = [];
  const prefill: Results['prefill'] = [];
  for (const stages of [1, ...STAGES]) {
    const from = performance.now();
    for (const hop of stages === 1 ? [0] : HOPS) {
      for (const streams of STREAMS) {
        const plain = await simulateStaged({ ...shared, stages, hop, streams, speculate: false });
        const drafting = await simulateStaged({ ...shared, stages, hop, streams, speculate: true });
        runs.push({ stages, hop, streams, plain: plain.rate, speculating: drafting.rate, accepted: drafting.accepted });
      }
      const { first } = await simulateStaged({ ...shared, stages, hop, streams: 1, speculate: false, prompt: PROMPT, output: 2 });
      prefill.push({ stages, hop, rate: (1000 * PROMPT) / first });
    }
    console.log(`${stages} stages: ${((performance.now() - from) / 1000).toFixed(1)} s`);
  }
  return { ...shared, runs, prefill };
}

const tokens = (rate: number): string => (rate < 100 ? rate.toFixed(1) : rate.toFixed(0));
const row = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;
const head = (cells: readonly string[]): string[] => [row(cells), row(cells.map((_, i) => (i === 0 ? '---' : '---:')))];

function render(r: Results): { page: string; pictures: Record<string, string> } {
  const run = (stages: number, hop: number, streams: number) =>
    r.runs.find((x) => x.stages === stages && (stages === 1 || x.hop === hop) && x.streams === streams)!;
  const hops = [...new Set(r.runs.filter((x) => x.stages > 1).map((x) => x.hop))];
  const stages = [...new Set(r.runs.filter((x) => x.stages > 1).map((x) => x.stages))];
  const streams = [...new Set(r.runs.map((x) => x.streams))];
  const shown = [2, 4, 8];
  const over = (name: string, f: (hop: number) => number, dashed = false): Series => ({
    ...{ name, dashed, points: hops.map((hop) => [hop, f(hop)] as const) },
  });
  const layers = r.cost.layers?.map(([tokens, ms]) => `${ms} for ${tokens}`).join(', ');
  const cost = `layers ${layers ?? `${r.cost.step} + ${r.cost.token} · tokens`}, head ${r.cost.headStep} + ${r.cost.row} · rows, ms`;
  const x = { label: 'a call to a stage and back, ms', log: true, ticks: hops, format: String };
  const y = { label: 'tokens/s', min: 0 };
  const note = `one isolate: ${cost}; cut evenly`;
  const one = lineChart({
    ...{ title: 'One stream, over the distance of the stages', note, x, y },
    series: [
      over('one isolate', () => run(1, 0, 1).plain, true),
      ...shown.map((s) => over(`${s} stages`, (hop) => run(s, hop, 1).plain)),
      ...shown.slice(1).map((s) => over(`${s} + drafts`, (hop) => run(s, hop, 1).speculating)),
    ],
  });
  const sixteen = lineChart({
    ...{ title: '16 streams together, over the distance of the stages', note, x, y },
    series: [
      over('one isolate', () => run(1, 0, 16).plain, true),
      ...shown.map((s) => over(`${s} stages`, (hop) => run(s, hop, 16).plain)),
    ],
  });
  const crowd = lineChart({
    ...{ title: 'Streams together, a call of 1 ms', note, y },
    x: { label: 'streams', log: true, ticks: streams, format: String },
    series: [1, ...shown].map((s) => ({
      name: s === 1 ? 'one isolate' : `${s} stages`,
      dashed: s === 1,
      points: streams.map((n) => [n, run(s, 1, n).plain] as const),
    })),
  });
  const page = [
    '# Stages, simulated',
    '',
    'Written by `npx tsx bench/simulate/stages.ts`. What a model in stages ([stages.md](stages.md)) would give if its stages were farther apart than',
    'they are on one machine, each with a core of its own. The real engine runs, with its scheduler, its page table, its speculation and its runner over',
    'stages (`engine/staged.ts`), in a time that only passes when everybody waits; only what a stage computes is modelled, and how long a call to it is',
    `on its way. The model is of Qwen2.5-Coder-0.5B's size. In one isolate a step takes: ${cost}. That is what`,
    'its Q4_K_M file took on an Intel Xeon of two cores (processor time, best of three, other work beside it, 2026-12-01), as `npm run bench -- stages` measures it: 37 ms for one token, 50 for four together, 98 for eight, 173 for',
    'sixteen, 7 ms a token of a prompt. n stages have an n-th of it each; the first is the replica’s own isolate, so that n stages are n − 1 hops for the',
    'layers, and one for the head, which brings the next row of the embedding along. A hop is a call and its answer. Decoding sequences are in as many groups as',
    'the scheduler finds best. Text repeats itself so',
    `that a drafted token comes true with a chance of ${r.repeats}.`,
    '',
    '## One stream',
    '',
    'Tokens a second, and with speculation: drafted tokens go through the stages with the one that is due, so that they share its hops.',
    '',
    ...head(['stages', ...hops.map((h) => `${h} ms`)]),
    row(['one isolate', tokens(run(1, 0, 1).plain), ...hops.slice(1).map(() => '')]),
    ...stages.map((s) => row([s, ...hops.map((h) => `${tokens(run(s, h, 1).plain)} / ${tokens(run(s, h, 1).speculating)}`)])),
    '',
    '![one stream](simulation/stages-one.svg)',
    '',
    '## Streams together',
    '',
    'Tokens a second of all, without speculation.',
    '',
    ...head(['stages, call', ...streams.map((n) => `${n} ${n === 1 ? 'stream' : 'streams'}`)]),
    row(['one isolate', ...streams.map((n) => tokens(run(1, 0, n).plain))]),
    ...[0.3, 1, 5, 20].flatMap((h) => stages.map((s) => row([`${s}, ${h} ms`, ...streams.map((n) => tokens(run(s, h, n).plain))]))),
    '',
    '![16 streams](simulation/stages-16.svg)',
    '',
    '![streams](simulation/stages-streams.svg)',
    '',
    `## A prompt of ${PROMPT.toLocaleString('en-US')} tokens`,
    '',
    'Tokens a second until the first answered token.',
    '',
    ...head(['stages', ...hops.map((h) => `${h} ms`)]),
    row(['one isolate', tokens(r.prefill[0].rate), ...hops.slice(1).map(() => '')]),
    ...stages.map((s) => row([s, ...hops.map((h) => tokens(r.prefill.find((p) => p.stages === s && p.hop === h)!.rate))])),
    '',
    ...OTHERS,
  ];
  return {
    page: `${page.join('\n').trimEnd()}\n`,
    pictures: { 'stages-one.svg': one, 'stages-16.svg': sixteen, 'stages-streams.svg': crowd },
  };
}

const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
const file = `${docs}simulation/stages.json`;
mkdirSync(`${docs}simulation`, { recursive: true });
if (process.argv[2] !== 'draw') writeFileSync(file, `${JSON.stringify(await measure(), null, 1)}\n`);
const { page, pictures } = render(JSON.parse(readFileSync(file, 'utf8')) as Results);
for (const [name, svg] of Object.entries(pictures)) writeFileSync(`${docs}simulation/${name}`, svg);
writeFileSync(`${docs}stages-simulation.md`, page);
