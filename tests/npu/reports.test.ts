/** What comes out of a run: sums that add up, a trace and pictures that parse, and the replay of arrivals. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type Arrival, type Fleet, interpolate, placings, quantile, replay } from '../../cli/replay.ts';
import { FLEET, readAzureTrace, simulateAll, simulationTable } from '../../cli/simulate.ts';
import { device } from '../../simulator/device/index.ts';
import { reportHtml } from '../../simulator/report/html.ts';
import { rooflineSvg, timelineSvg } from '../../simulator/report/svg.ts';
import { chromeTrace } from '../../simulator/report/trace.ts';
import { modelShapes } from '../../simulator/shapes.ts';
import { simulate } from '../../simulator/simulate.ts';

const d = device('edge-npu');
const s = simulate({ device: d, model: modelShapes['smollm2-135m'], prompt: 40, timelines: true });

describe('a run in figures and pictures', () => {
  test('parts add up to the whole, shares are shares', () => {
    expect(Object.values(s.parts).reduce((a, b) => a + b, 0)).toBeCloseTo(s.us, 6);
    for (const v of Object.values(s.busy)) expect(v).toBeGreaterThanOrEqual(0);
    for (const v of Object.values(s.busy)) expect(v).toBeLessThanOrEqual(1);
    expect(s.roofline.reached).toBeGreaterThan(0);
    expect(s.roofline.reached).toBeLessThan(1);
    // every weight but the embedding's is read once at least
    expect(s.bytes.read).toBeGreaterThan(s.weightBytes - 49152 * 576 * 0.5625);
  });

  test('two devices, two chips: as one expects', () => {
    const us = (name: string, chips: number): number =>
      simulate({ device: device(name), model: modelShapes['smollm2-135m'], prompt: 512, options: { chips } }).us;
    expect(us('maia-200', 1)).toBeLessThan(us('edge-npu', 1) / 5);
    const linked = simulate({ device: device('maia-200'), model: modelShapes['smollm2-135m'], prompt: 64, options: { chips: 2 } });
    expect(linked.parts.links).toBeGreaterThan(0);
    expect(linked.bytes.link).toBeGreaterThan(0);
  });

  test('the trace is Chrome’s format, in order of each queue, without overlap inside a unit', () => {
    const trace = JSON.parse(chromeTrace(s.launched.slice(0, 8), { cyclesPerUs: 1250, opUs: d.launch.opUs })) as {
      traceEvents: { ph: string; pid: number; tid: number; ts: number; dur: number; name: string }[];
    };
    const events = trace.traceEvents.filter((e) => e.ph === 'X');
    expect(events.length).toBeGreaterThan(50);
    for (const e of events) expect(e.ts >= 0 && e.dur >= 0 && e.name.length > 0).toBe(true);
    const vector = events.filter((e) => e.pid === 1 && e.tid === 3).sort((a, b) => a.ts - b.ts);
    for (let i = 1; i < vector.length; i++) expect(vector[i].ts).toBeGreaterThanOrEqual(vector[i - 1].ts);
    expect(trace.traceEvents.some((e) => e.ph === 'M' && e.name === 'thread_name')).toBe(true);
  });

  test('pictures and page are whole', () => {
    for (const text of [rooflineSvg(d, s.launched), timelineSvg(d, s.launched, { toUs: 500 }), reportHtml(d, s.launched, 'a <title>')]) {
      expect(text).not.toMatch(/NaN|Infinity|undefined/);
      expect(text).not.toContain('a <title>');
      expect(text.match(/<svg/g)?.length).toBe(text.match(/<\/svg>/g)?.length);
    }
    expect(rooflineSvg(d, s.launched).match(/<circle/g)?.length).toBeGreaterThan(3);
    expect(timelineSvg(d, s.launched).match(/<rect/g)?.length).toBeGreaterThan(100);
  });

  test('the command line’s table has a line a prompt, and refuses what it does not know by name', () => {
    const said: string[] = [];
    const table = simulationTable(simulateAll({ model: 'smollm2-135m', device: 'edge-npu', prompts: [16, 32] }, (line) => said.push(line)));
    expect(table.split('\n')).toHaveLength(3);
    expect(said).toEqual(['smollm2-135m, 16 tokens, is simulated (1 of 2) …', 'smollm2-135m, 32 tokens, is simulated (2 of 2) …']);
    expect(() => simulateAll({ model: 'gpt-9', device: 'edge-npu', prompts: [16] })).toThrow('smollm2-135m');
    expect(() => simulateAll({ model: 'smollm2-135m', device: 'x', prompts: [16] })).toThrow('maia-200');
  });
});

test('the shape called pebble is the shipped model’s', () => {
  const manifest = fileURLToPath(new URL('../../models/pebble/model.json', import.meta.url));
  expect((JSON.parse(readFileSync(manifest, 'utf8')) as { config: object }).config).toMatchObject(modelShapes.pebble);
});

describe('replay', () => {
  const fleet: Fleet = { ...FLEET, replicas: 4, deviceMs: (t) => 0.2 + t * 0.01, kvBytesPerToken: 12_000 };
  const arrivals = (n: number, gap: number): Arrival[] =>
    Array.from({ length: n }, (_, i) => ({ at: i * gap, prompt: 40 + ((i * 337) % 3000), output: 50 }));

  test('every request gets its first token, after it came; device and replicas are charged', () => {
    for (const p of placings) {
      const r = replay(arrivals(200, 500), fleet, p);
      expect(r.ttft).toHaveLength(200);
      expect(r.ttft[0]).toBeGreaterThan(0);
      expect(r.deviceHours > 0).toBe(p !== 'always-local');
      expect(r.replicaHours).toBeGreaterThan(0);
    }
  });

  test('placings do what their names say', () => {
    const list = arrivals(200, 500);
    const on = (p: (typeof placings)[number], f = fleet): number => replay(list, f, p).onDevice;
    expect(on('always-local')).toBe(0);
    expect(on('always-npu')).toBe(200);
    expect(on('threshold')).toBe(list.filter((r) => r.prompt >= fleet.thresholdTokens).length);
    expect(on('adapter')).toBeGreaterThan(0);
    // a device slower than a replica is left alone once that is known
    const slow = { ...fleet, deviceMs: (t: number): number => t * 20 };
    expect(on('adapter', slow)).toBeLessThan(20);
  });

  test('with a fast device the adapter is no worse than always local, with a slow one it stays near it', () => {
    const list = arrivals(400, 250);
    const p95 = (p: (typeof placings)[number], f: Fleet): number => quantile(replay(list, f, p).ttft, 0.95);
    expect(p95('adapter', fleet)).toBeLessThan(p95('always-local', fleet) / 2);
    const slow = { ...fleet, deviceMs: (t: number): number => t * 3 };
    expect(p95('adapter', slow)).toBeLessThan(p95('always-npu', slow));
    expect(p95('adapter', slow)).toBeLessThan(p95('always-local', slow) * 1.3);
  });

  test('interpolation goes through its points and on beyond them', () => {
    const f = interpolate([
      [16, 1],
      [128, 2],
      [1024, 9],
    ]);
    expect(f(16)).toBeCloseTo(1);
    expect(f(128)).toBeCloseTo(2);
    expect(f(576)).toBeCloseTo(5.5);
    expect(f(1920)).toBeCloseTo(16);
  });

  const trace = fileURLToPath(new URL('../../../shared/data/traces/AzureLLMInferenceTrace_conv.csv', import.meta.url));
  test.skipIf(!existsSync(trace))(
    `the Azure trace is read${existsSync(trace) ? '' : ' (skipped: ../shared/data/traces is not there)'}`,
    () => {
      const list = readAzureTrace(trace);
      expect(list.length).toBe(19366);
      expect(list.every((r, i) => i === 0 || r.at >= list[i - 1].at)).toBe(true);
    },
  );
});
