/**
 * Azure's trace through replicas with an accelerator, under four ways of placing prefill: figures into docs/npu.md,
 * pictures beside it.
 *
 *   npx tsx bench/npu/trace.ts path/to/AzureLLMInferenceTrace_conv.csv
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { quantile } from '../../cli/replay.ts';
import { readAzureTrace, replayTrace } from '../../cli/simulate.ts';
import { barChart, lineChart } from '../svg.ts';

const path = process.argv[2];
if (!path) throw new Error('give the path of AzureLLMInferenceTrace_conv.csv');
const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
const trace = readAzureTrace(path);

const rows: string[] = [];
for (const device of ['edge-npu', 'maia-200']) {
  const deviceHour = device === 'edge-npu' ? 0.05 : 4;
  const { fleet, replays } = replayTrace(trace, { model: 'smollm2-135m', device, numbers: 'w4', fleet: { deviceHour } });
  const note = `${trace.length} requests in an hour, ${fleet.replicas} replicas of ${fleet.localTokensPerMs * 1000} tokens/s, SmolLM2-135M w4, one ${device}`;
  const points = (sorted: Float64Array): [number, number][] =>
    Array.from({ length: 100 }, (_, i): [number, number] => [Math.max(1, quantile(sorted, (i + 0.5) / 100)), (i + 0.5) / 100]);
  writeFileSync(
    `${docs}npu/trace-${device}.svg`,
    lineChart({
      ...{ title: `Time to first token with ${device}`, note },
      x: { label: 'TTFT, ms', log: true },
      y: { label: 'share of requests', min: 0, max: 1 },
      series: replays.map((r) => ({ name: r.placing, points: points(r.ttft) })),
    }),
  );
  writeFileSync(
    `${docs}npu/trace-cost-${device}.svg`,
    barChart({
      ...{
        title: `Cost of 1,000 requests with ${device}`,
        note: `replica hour $${fleet.replicaHour}, device hour $${fleet.deviceHour}, only busy time counts`,
      },
      y: { label: 'dollars' },
      groups: replays.map((r) => r.placing),
      series: [{ name: 'cost', values: replays.map((r) => r.dollarsPer1000) }],
    }),
  );
  for (const r of replays) {
    const q = (v: number): string => quantile(r.ttft, v).toFixed(0);
    const share = `${((100 * r.onDevice) / r.ttft.length).toFixed(0)} %`;
    rows.push(
      `| ${device} | ${r.placing} | ${q(0.5)} | ${q(0.95)} | ${q(0.99)} | ${share} | ${(100 * r.deviceBusy).toFixed(1)} % | ${r.dollarsPer1000.toFixed(4)} |`,
    );
    console.log(rows[rows.length - 1]);
  }
}
const table = [
  '| device | placing | TTFT p50, ms | p95 | p99 | on the device | device busy | $ for 1,000 |',
  '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |',
  ...rows,
].join('\n');
const text = readFileSync(`${docs}npu.md`, 'utf8');
const [from, to] = ['<!-- trace -->', '<!-- /trace -->'];
const [a, b] = [text.indexOf(from), text.indexOf(to)];
if (a < 0 || b < a) throw new Error(`docs/npu.md lacks ${from} … ${to}`);
writeFileSync(`${docs}npu.md`, `${text.slice(0, a + from.length)}\n\n${table}\n\n${text.slice(b)}`);
