import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeMachine, machine } from '../../bench/machine.ts';
import { withMeasured } from '../../bench/measured.ts';
import { limits, unmeasured, unpublishable } from '../../bench/publish.ts';
import { REAL_MODELS } from '../../bench/real-models.ts';
import type { Report } from '../../bench/report.ts';
import { TASKS } from '../../bench/suites/speculation.ts';

const file =
  '## Limits\n\nIntro.\n\n### One\n<!-- pp128 against native; pp512 against native -->\n\nFirst.\n\n### Two\n<!-- HTTP costs -->\n\nSecond.\n';
const gate = (...targets: [name: string, got: number][]) => [
  { targets: targets.map(([name, got]) => ({ name, got, want: 1, unit: '×' })) } as unknown as Report,
];

describe('what limits the missed targets', () => {
  it('is told of missed targets alone', () => {
    const text = limits(gate(['pp512 against native llama.cpp', 0.7], ['HTTP costs of the engine', 1]), file);
    expect(text).toContain('First.');
    expect(text).toContain('Intro.');
    expect(text).not.toContain('Second.');
  });

  it('is all told while there was no gate, and nothing when nothing is missed', () => {
    expect(limits(undefined, file)).toBe(file);
    expect(limits(gate(['pp512 against native llama.cpp', 1]), file)).toBe('');
  });

  it('says which missed target has no section', () => {
    const text = limits(gate(['tg64 at depth 0', 0.5]), file);
    expect(text).toContain('Missed, and not looked into yet: tg64 at depth 0.');
    expect(text).not.toContain('First.');
  });

  it('is told of every report', () => {
    const text = limits([...gate(['pp512 against native llama.cpp', 1]), ...gate(['HTTP costs of the engine', 0.5])], file);
    expect(text).not.toContain('First.');
    expect(text).toContain('Second.');
  });

  it('knows every target of the real models', () => {
    const columns = ['pp128', 'pp512', 'tg64 at depth 0', 'tg64 at depth 1024'].map((c) => `${c} against native llama.cpp`);
    const streams = [2, 8].map((n) => `${n} streams together, of one`);
    const apart = '2 streams of two processes, of one stream of one';
    const tasks = TASKS.map((task) => `speculation on ${task}`);
    const held = [REAL_MODELS.smollm2, REAL_MODELS['qwen-coder']];
    const names = held.flatMap((m) => [...columns, ...streams, apart, ...tasks].map((c) => `${m.name}: ${c}`));
    expect(limits(gate(...names.map((n): [string, number] => [n, 0])))).not.toContain('not looked into');
  });

  it('there are ten tasks of speculation', () => {
    expect(TASKS).toHaveLength(10);
  });

  it('knows every target that a published report misses', () => {
    const folder = join(import.meta.dirname, '../../docs/performance');
    const reports = ['gate', 'real', 'speculation', 'kernels'].map(
      (suite) => JSON.parse(readFileSync(join(folder, `${suite}.json`), 'utf8')) as Report,
    );
    expect(limits(reports)).not.toContain('not looked into');
  });

  it('knows every target of the gate', () => {
    const names = [
      ...['pp128', 'pp512', 'tg64 at depth 0', 'tg64 at depth 1024'].flatMap((c) => [
        `${c} against wllama 2.3.1`,
        `${c} against native llama.cpp`,
      ]),
      'decode of 8 together against one',
      'decode of 16 together against one',
      'HTTP costs of the engine’s tokens/s',
      'TTFT over prefill',
      'first token of a cached 1,000-token prefix, in decode steps',
      'memory of an isolate with the SmolLM2 shape',
      'first token after a fresh start, shipped model',
      'a pack loads from local storage',
      ...TASKS.map((task) => `speculation on ${task}`),
      ...['one process', '2 processes'].map((n) => `64 streams at once, of one after the other, ${n}`),
      '4-bit product qkv 960×576 M=1 against ONNX Runtime Web',
    ];
    expect(limits(gate(...names.map((n): [string, number] => [n, 0])))).not.toContain('not looked into');
  });
});

describe('a report is published', () => {
  const fit = { ...machine(), cpu: 'Xeon (family 6 model 167, 2600 MHz)', flags: ['avx2', 'avx_vnni'] };

  it('with the name of its processor and its instructions only', () => {
    expect(unpublishable({ suite: 'gate', machine: fit, command: '' })).toBeUndefined();
    expect(unpublishable({ suite: 'gate', machine: { ...fit, cpu: 'unknown' }, command: '' })).toMatch(/name of its processor/);
    expect(unpublishable({ suite: 'gate', machine: { ...fit, flags: [] }, command: '' })).toMatch(/instructions/);
    expect(describeMachine(fit)).toContain('Xeon (family 6 model 167, 2600 MHz), avx2 avx_vnni, ');
  });

  it("without milliseconds on the wall's clock", () => {
    const speculation = { suite: 'speculation', machine: fit };
    expect(unpublishable({ ...speculation, command: 'npm run bench -- speculation' })).toMatch(/--clock cpu/);
    expect(unpublishable({ ...speculation, command: 'npm run bench -- speculation --clock cpu' })).toBeUndefined();
  });
});

it('what is no number is not published, by name', () => {
  const figure = (name: string, median: number) => ({ name, unit: 'ms', value: { median, low: 1, high: 1, runs: 2 } });
  const target = (name: string, got: number) => ({ name, got, want: 1, unit: '×' });
  expect(unmeasured({ figures: [figure('a', 1)], targets: [target('b', 2)] })).toBeUndefined();
  expect(unmeasured({ figures: [figure('a', Number.POSITIVE_INFINITY)], targets: [target('b', Number.NaN)] })).toBe('no number: a, b');
});

it('the table of docs/models.md is what was published of real models', () => {
  const page = readFileSync(new URL('../../docs/models.md', import.meta.url), 'utf8');
  const reports = ['real', 'quality'].map(
    (suite) => JSON.parse(readFileSync(new URL(`../../docs/performance/${suite}.json`, import.meta.url), 'utf8')) as Report,
  );
  expect(withMeasured(page, reports)).toBe(page);
  expect(() => withMeasured('no marks', reports)).toThrow(/has no/);
});
