import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { processesOf } from '../../cli/commands/start.ts';
import { readMetrics } from '../../cli/prometheus.ts';
import { Registry } from '../../openai/prometheus.ts';

const turnstone = (...args: string[]): string =>
  execFileSync(process.execPath, ['--import', 'tsx', join(ROOT, 'cli/index.ts'), ...args], { cwd: ROOT, encoding: 'utf8' });

it('completes commands, flags of settings with their values, and models', () => {
  expect(turnstone('complete', '--', 'st')).toMatch(/^start\t.*\nstages\t/);
  expect(turnstone('complete', '--', 'start', '--po')).toMatch(/^--port\tport to listen on/);
  expect(turnstone('complete', '--', 'start', '--kv', '')).toContain('i8');
  expect(turnstone('complete', '--', 'run', 'smol')).toMatch(/^smollm2\t/);
  expect(turnstone('complete', '--', 'start', '--api'), 'a secret is no flag').not.toContain('--api-keys');
});

it('shows a model as JSON', () => {
  expect(JSON.parse(turnstone('show', 'smollm2', '--json'))).toMatchObject({ name: 'smollm2', licence: 'apache-2.0', parameters: '135 M' });
});

it('PROCESSES=auto is a process for each core, within what may be', () => {
  expect([1, 2, 64].map((cores) => processesOf('auto', cores))).toEqual(['1', '2', '16']);
  expect([undefined, '', '3', 'many'].map((value) => processesOf(value, 8))).toEqual([undefined, '', '3', 'many']);
});

it('reads back the metrics that a server writes', () => {
  const r = new Registry({ model_name: 'a "b"' });
  r.gauge('running', 'Running.').set(3);
  const total = r.counter('calls_total', 'Calls.');
  total.add(2, { place: 'x' });
  total.add(5, { place: 'y' });
  const of = readMetrics(r.render());
  expect(of('running', {})).toEqual([3]);
  expect(of('calls_total', {}).sort()).toEqual([2, 5]);
  expect(of('calls_total', { place: 'y' })).toEqual([5]);
  expect(of('calls', {})).toEqual([]);
});
