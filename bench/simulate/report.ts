import { barChart, lineChart } from '../svg.ts';
import { type Fairness, RULES, SPEED } from './experiments.ts';
import { quantile, type Result } from './simulate.ts';

/** What a run comes down to; times in s, shares in 0..1, rates a second. */
export interface Row {
  p50: number;
  p95: number;
  hit: number;
  promptRate: number;
  outputRate: number;
  busy: number;
  refused: number;
}

export interface Results {
  fairness: Fairness;
  azure: { requests: number; runs: (Row & { load: number })[] };
  mooncake: { requests: number; reuse: number; runs: (Row & { kv: number; rule: string })[] };
}

export const rowOf = (r: Result): Row => ({
  p50: quantile(r.ttft, 0.5) / 1000,
  p95: quantile(r.ttft, 0.95) / 1000,
  hit: r.hitRate,
  promptRate: r.promptRate,
  outputRate: r.outputRate,
  busy: r.utilization,
  refused: r.refused,
});

const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
const s2 = (x: number) => x.toFixed(2);

/** The page and its pictures, by file name. */
export function render(r: Results): { page: string; pictures: Record<string, string> } {
  const page = [
    '# Simulation',
    '',
    'Written by `tsx bench/simulate/index.ts`. A discrete-event simulation with a clock of its own drives the real queue and',
    'placement (`policy/`) and the real page pool and page names (`engine/pages.ts`); only the time of a step is modelled:',
    `${SPEED.step} ms + ${SPEED.prefill} ms a prompt token + ${SPEED.decode} ms a decoding sequence, at most ${SPEED.budget} tokens a step. The traces are`,
    "Microsoft Azure's (2023, conversations, CC-BY) and Mooncake's (FAST'25, conversations, Apache-2.0). TTFT counts from arrival.",
    '',
    ...fairnessPage(r.fairness),
    ...azurePage(r.azure),
    ...mooncakePage(r.mooncake),
  ];
  return {
    page: `${page.join('\n').trimEnd()}\n`,
    pictures: { 'fairness.svg': fairnessPicture(r.fairness), 'load.svg': azurePicture(r.azure), ...mooncakePictures(r.mooncake) },
  };
}

function mooncakePictures(m: Results['mooncake']): Record<string, string> {
  const capacities = [...new Set(m.runs.map((x) => x.kv))];
  const rules = RULES.filter((rule) => m.runs.some((x) => x.rule === rule));
  const note = `Mooncake conversations, ${m.requests} requests in 59 minutes, 12 replicas of 32 slots`;
  const x = { label: 'KV tokens a replica', log: true, ticks: capacities, format: (v: number) => `${Math.round(v / 1024)}Ki` };
  const lines = (f: (row: Row) => number) =>
    rules.map((name) => ({ name, points: m.runs.filter((run) => run.rule === name).map((run) => [run.kv, f(run)] as const) }));
  const limit = { name: 'endless cache', dashed: true, points: capacities.map((kv) => [kv, 100 * m.reuse] as const) };
  const ttft = (name: 'p50' | 'p95') =>
    lineChart({
      title: `Time to first token, ${name}, by placement rule`,
      note,
      x,
      y: { label: `TTFT ${name}, s`, log: true },
      series: lines((row) => row[name]),
    });
  const hits = lineChart({
    title: 'Prompt tokens found in KV pages, by placement rule',
    note,
    x,
    y: { label: 'hit rate, % of prompt tokens', min: 0, max: 45 },
    series: [...lines((row) => 100 * row.hit), limit],
  });
  return { 'hit-rate.svg': hits, 'ttft-p50.svg': ttft('p50'), 'ttft-p95.svg': ttft('p95') };
}

function mooncakePage(m: Results['mooncake']): string[] {
  return [
    '## Placement: Mooncake',
    '',
    `Reuse in the trace itself (an endless cache): ${percent(m.reuse)} of prompt tokens. \`cache\` is the rule in use, \`thresholds\``,
    "SGLang's; both are stated in `policy/placement.ts`.",
    '',
    '| KV tokens a replica | rule | hit rate | TTFT p50, s | TTFT p95, s | prompt tokens/s | busy |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...m.runs.map(
      (x) => `| ${x.kv} | ${x.rule} | ${percent(x.hit)} | ${s2(x.p50)} | ${s2(x.p95)} | ${Math.round(x.promptRate)} | ${percent(x.busy)} |`,
    ),
    '',
    ...['hit-rate', 'ttft-p50', 'ttft-p95'].flatMap((name) => [`![${name}](simulation/${name}.svg)`, '']),
  ];
}

function azurePicture(a: Results['azure']): string {
  return lineChart({
    title: 'Waits as the load grows',
    note: `Azure conversations, ${a.requests} requests in 58 minutes, 4 replicas of 16 slots, the queue's own limits`,
    x: { label: "load, times the trace's", ticks: a.runs.map((x) => x.load) },
    y: { label: 'TTFT, s', log: true },
    series: (['p50', 'p95'] as const).map((name) => ({ name, points: a.runs.map((x) => [x.load, x[name]] as const) })),
  });
}

function azurePage(a: Results['azure']): string[] {
  return [
    '## Load: Azure',
    '',
    '| load | TTFT p50, s | TTFT p95, s | output tokens/s | busy | refused (429) |',
    '| --- | --- | --- | --- | --- | --- |',
    ...a.runs.map(
      (x) =>
        `| ${x.load} | ${s2(x.p50)} | ${s2(x.p95)} | ${Math.round(x.outputRate)} | ${percent(x.busy)} | ${percent(x.refused / a.requests)} |`,
    ),
    '',
    '![load](simulation/load.svg)',
    '',
  ];
}

function fairnessPicture(f: Fairness): string {
  return barChart({
    title: "p95 TTFT of 200 short requests beside another tenant's 200 long ones",
    note: 'One replica of 16 slots; long: 1,500 + 300 tokens, all at once; short: 60 + 30 tokens, one each 300 ms',
    y: { label: 'TTFT p95, s (logarithmic)', log: true, min: 0.1, max: 300, format: (v) => `${Number(v.toPrecision(3))}` },
    groups: ['beside one long stream', 'beside the flood', 'flood, order of arrival'],
    series: [{ name: 'light tenant', values: [f.besideOne / 1000, f.besideFlood / 1000, f.inOrder / 1000] }],
  });
}

function fairnessPage(f: Fairness): string[] {
  return [
    '## Fairness',
    '',
    'One tenant sends 200 long requests at once, another 200 short ones over a minute.',
    '',
    '| | |',
    '| --- | --- |',
    `| p95 TTFT of the light tenant beside a single long stream | ${s2(f.besideOne / 1000)} s |`,
    `| the same beside the flood | ${s2(f.besideFlood / 1000)} s, ${(f.besideFlood / f.besideOne).toFixed(2)} times |`,
    `| the same when requests are served in order of arrival | ${s2(f.inOrder / 1000)} s |`,
    `| tokens a second of the flood alone | ${Math.round(f.aloneRate)} |`,
    `| tokens a second of both | ${Math.round(f.togetherRate)}, ${percent(f.togetherRate / f.aloneRate)} |`,
    '',
    '![fairness](simulation/fairness.svg)',
    '',
  ];
}
