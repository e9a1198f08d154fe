/**
 * Replays real traces through the real queue, placement and page tree, and draws what comes out:
 * `tsx bench/simulate/index.ts`; with `draw` only the drawing, from the results of the last run.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fairness, loadCurve, placement, RULES } from './experiments.ts';
import { type Results, render, rowOf } from './report.ts';
import { absent, azure, mooncake, reuse } from './traces.ts';

const out = fileURLToPath(new URL('../../docs/simulation/', import.meta.url));
const results = `${out}results.json`;
const LOADS = [0.5, 0.75, 1, 1.1, 1.25, 1.5];
const CAPACITIES = [262_144, 524_288, 1_048_576, 2_097_152, 4_194_304];

function timed<T>(name: string, run: () => T): T {
  const from = performance.now();
  const result = run();
  console.log(`${name}: ${((performance.now() - from) / 1000).toFixed(1)} s`);
  return result;
}

function measure(): Results {
  const calls = azure();
  const talks = mooncake();
  const rules = RULES.filter((rule) => rule !== 'least-loaded');
  return {
    fairness: timed('fairness', fairness),
    azure: {
      requests: calls.length,
      runs: LOADS.map((load) => timed(`azure, load ${load}`, () => ({ load, ...rowOf(loadCurve(calls, load)) }))),
    },
    mooncake: {
      requests: talks.length,
      reuse: reuse(talks),
      runs: CAPACITIES.flatMap((kv) =>
        rules.map((rule) => timed(`mooncake, ${rule}, ${kv}`, () => ({ kv, rule, ...rowOf(placement(talks, kv, rule)) }))),
      ),
    },
  };
}

const why = absent('azure') ?? absent('mooncake');
if (process.argv[2] !== 'draw' && why) {
  console.log(`skipped: ${why}`);
} else {
  mkdirSync(out, { recursive: true });
  if (process.argv[2] !== 'draw') writeFileSync(results, `${JSON.stringify(measure(), null, 1)}\n`);
  const { page, pictures } = render(JSON.parse(readFileSync(results, 'utf8')) as Results);
  for (const [name, svg] of Object.entries(pictures)) writeFileSync(out + name, svg);
  writeFileSync(`${out}../simulation.md`, page);
}
