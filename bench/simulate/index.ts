/** Replays real traces through the real queue, placement and page tree, and draws what comes out: `tsx bench/simulate/index.ts`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { barChart, lineChart } from '../svg.ts';
import { fairness, loadCurve, placement, RULES, SPEED } from './experiments.ts';
import { quantile, type Result } from './simulate.ts';
import { absent, azure, mooncake, reuse } from './traces.ts';

const out = fileURLToPath(new URL('../../docs/simulation/', import.meta.url));
mkdirSync(out, { recursive: true });
const write = (name: string, text: string) => writeFileSync(`${out}${name}`, text);
const seconds = (ms: number) => (ms / 1000).toFixed(2);
const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
const report: string[] = [
  '# Simulation',
  '',
  'Written by `tsx bench/simulate/index.ts`. A discrete-event simulation with a clock of its own drives the real queue and',
  'placement (`policy/`) and the real page pool and page names (`engine/pages.ts`); only the time of a step is modelled:',
  `${SPEED.step} ms + ${SPEED.prefill} ms a prompt token + ${SPEED.decode} ms a decoding sequence, at most ${SPEED.budget} tokens a step. The traces are`,
  "Microsoft Azure's (2023, conversations, CC-BY) and Mooncake's (FAST'25, conversations, Apache-2.0). TTFT counts from arrival.",
  '',
];

function mooncakeReport(): void {
  const trace = mooncake();
  const most = reuse(trace);
  const capacities = [262_144, 524_288, 1_048_576, 2_097_152, 4_194_304];
  const rules = RULES.filter((r) => r !== 'least-loaded');
  const runs = new Map<string, Result>();
  for (const kv of capacities) for (const rule of rules) runs.set(`${rule} ${kv}`, placement(trace, kv, rule));
  const of = (rule: string, kv: number) => runs.get(`${rule} ${kv}`)!;
  const note = `Mooncake conversations, ${trace.length} requests in 59 minutes, 12 replicas of 32 slots`;
  const x = { label: 'KV tokens a replica', log: true, ticks: capacities, format: (v: number) => `${Math.round(v / 1024)}Ki` };
  const line = (f: (r: Result) => number) =>
    rules.map((name) => ({ name, points: capacities.map((kv) => [kv, f(of(name, kv))] as const) }));
  const limit = { name: 'endless cache', dashed: true, points: capacities.map((kv) => [kv, 100 * most] as const) };
  write(
    'hit-rate.svg',
    lineChart({
      title: 'Prompt tokens found in KV pages, by placement rule',
      note,
      x,
      y: { label: 'hit rate, % of prompt tokens', min: 0, max: 45 },
      series: [...line((r) => 100 * r.hitRate), limit],
    }),
  );
  for (const [q, name] of [
    [0.5, 'p50'],
    [0.95, 'p95'],
  ] as const) {
    write(
      `ttft-${name}.svg`,
      lineChart({
        title: `Time to first token, ${name}, by placement rule`,
        note,
        x,
        y: { label: `TTFT ${name}, s`, log: true },
        series: line((r) => quantile(r.ttft, q) / 1000),
      }),
    );
  }
  report.push('## Placement: Mooncake', '', `Reuse in the trace itself (an endless cache): ${percent(most)} of prompt tokens.`, '');
  report.push(
    '| KV tokens a replica | rule | hit rate | TTFT p50, s | TTFT p95, s | prompt tokens/s | busy |',
    '| --- | --- | --- | --- | --- | --- | --- |',
  );
  for (const kv of capacities) {
    for (const rule of rules) {
      const r = of(rule, kv);
      const ttft = `${seconds(quantile(r.ttft, 0.5))} | ${seconds(quantile(r.ttft, 0.95))}`;
      report.push(`| ${kv} | ${rule} | ${percent(r.hitRate)} | ${ttft} | ${Math.round(r.promptRate)} | ${percent(r.utilization)} |`);
    }
  }
  report.push(
    '',
    '![hit rate](simulation/hit-rate.svg)',
    '',
    '![TTFT p50](simulation/ttft-p50.svg)',
    '',
    '![TTFT p95](simulation/ttft-p95.svg)',
    '',
  );
}

function azureReport(): void {
  const trace = azure();
  const loads = [0.5, 0.75, 1, 1.1, 1.25, 1.5];
  const runs = loads.map((load) => loadCurve(trace, load));
  const note = `Azure conversations, ${trace.length} requests in 58 minutes, 4 replicas of 16 slots, the queue's own limits`;
  write(
    'load.svg',
    lineChart({
      title: 'Waits as the load grows',
      note,
      x: { label: "load, times the trace's", ticks: loads },
      y: { label: 'TTFT, s', log: true },
      series: [
        { name: 'p50', points: runs.map((r, i) => [loads[i]!, quantile(r.ttft, 0.5) / 1000]) },
        { name: 'p95', points: runs.map((r, i) => [loads[i]!, quantile(r.ttft, 0.95) / 1000]) },
      ],
    }),
  );
  report.push(
    '## Load: Azure',
    '',
    '| load | TTFT p50, s | TTFT p95, s | output tokens/s | busy | refused (429) |',
    '| --- | --- | --- | --- | --- | --- |',
  );
  runs.forEach((r, i) => {
    const ttft = `${seconds(quantile(r.ttft, 0.5))} | ${seconds(quantile(r.ttft, 0.95))}`;
    report.push(
      `| ${loads[i]} | ${ttft} | ${Math.round(r.outputRate)} | ${percent(r.utilization)} | ${percent(r.refused / trace.length)} |`,
    );
  });
  report.push('', '![load](simulation/load.svg)', '');
}

function fairnessReport(): void {
  const f = fairness();
  write(
    'fairness.svg',
    barChart({
      title: "p95 TTFT of 200 short requests beside another tenant's 200 long ones",
      note: 'One replica of 16 slots; long: 1,500 + 300 tokens, all at once; short: 60 + 30 tokens, one each 300 ms',
      y: { label: 'TTFT p95, s (logarithmic)', log: true, min: 0.1, format: (v) => `${Number(v.toPrecision(3))}` },
      groups: ['beside one long stream', 'beside the flood', 'flood, order of arrival'],
      series: [{ name: 'light tenant', values: [f.besideOne / 1000, f.besideFlood / 1000, f.inOrder / 1000] }],
    }),
  );
  report.push(
    '## Fairness',
    '',
    'One tenant sends 200 long requests at once, another 200 short ones over a minute.',
    '',
    '| | |',
    '| --- | --- |',
    `| p95 TTFT of the light tenant beside a single long stream | ${seconds(f.besideOne)} s |`,
    `| the same beside the flood | ${seconds(f.besideFlood)} s, ${(f.besideFlood / f.besideOne).toFixed(2)} times |`,
    `| the same when requests are served in order of arrival | ${seconds(f.inOrder)} s |`,
    `| tokens a second of the flood alone | ${Math.round(f.aloneRate)} |`,
    `| tokens a second of both | ${Math.round(f.togetherRate)}, ${percent(f.togetherRate / f.aloneRate)} |`,
    '',
    '![fairness](simulation/fairness.svg)',
    '',
  );
}

const parts: [name: string, why: string | undefined, run: () => void][] = [
  ['fairness', undefined, fairnessReport],
  ['azure', absent('azure'), azureReport],
  ['mooncake', absent('mooncake'), mooncakeReport],
];
for (const [name, why, run] of parts) {
  if (why) {
    console.log(`${name}: skipped, ${why}`);
    continue;
  }
  const from = performance.now();
  run();
  console.log(`${name}: ${seconds(performance.now() - from)} s`);
}
if (parts.every(([, why]) => !why)) writeFileSync(`${out}../simulation.md`, `${report.join('\n').trimEnd()}\n`);
