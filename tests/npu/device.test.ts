import { describe, expect, test } from 'vitest';
import { checkDevice, device, deviceNames, peakTops, tilesOf } from '../../simulator/device/index.ts';

type Tree = { [key: string]: unknown };

/** A copy of a shipped description with one field changed. */
function altered(path: string, value: unknown): unknown {
  const copy = JSON.parse(JSON.stringify(device('maia-200'))) as Tree;
  const keys = path.split('.');
  let at = copy;
  for (const k of keys.slice(0, -1)) at = at[k] as Tree;
  if (value === undefined) delete at[keys[keys.length - 1]];
  else at[keys[keys.length - 1]] = value;
  return copy;
}

describe('device descriptions', () => {
  test.each(deviceNames)('%s is whole, names its sources and says what was assumed', (name) => {
    const d = device(name);
    expect(d.sources.length).toBeGreaterThan(0);
    expect(d.assumed.length).toBeGreaterThan(0);
    for (const [type, tops] of Object.entries(d.stated)) expect(peakTops(d, type as 'bf16') / (tops as number)).toBeCloseTo(1, 1);
  });

  test('maia-200 has the published peaks at 36 tiles', () => {
    const d = device('maia-200');
    expect(tilesOf(d)).toBe(36);
    expect(peakTops(d, 'bf16')).toBeCloseTo(1180, -1);
    expect((peakTops(d, 'bf16') * 1000) / d.hbm.GBps).toBeCloseTo(169, 0); // ridge, FLOP/B
    expect((peakTops(d, 'fp8') * 1000) / d.hbm.GBps).toBeCloseTo(674, 0);
  });

  test.each([
    ['clockGHz', 60],
    ['clockGHz', -1],
    ['clockGHz', Number.NaN],
    ['clockGHz', '2'],
    ['clusters', 0],
    ['clusters', 2.5],
    ['tile.sramKiB', 1e9],
    ['tile.tensor.macsPerCycle.bf16', 8191],
    ['tile.tensor.macsPerCycle.bf16', undefined],
    ['tile.tensor.macsPerCycle.fp3', 256],
    ['tile.tensor.shape.m', 0],
    ['tile.tensor.groupScale', 'maybe'],
    ['tile.vector.lanes32', 512],
    ['tile.dma.engines', 1],
    ['hbm.efficiency', 1.2],
    ['hbm.GBps', undefined],
    ['hbm.GBps', 99_999],
    ['links.maxChips', 1000],
    ['noc.multicast', 'yes'],
    ['stated.bf16', 2000],
    ['name', '../x'],
    ['sources', 'a book'],
    ['launch.opUs', -0.1],
  ])('%s = %s is refused by name', (path, value) => {
    expect(() => checkDevice(altered(path, value))).toThrow(path.split('.').slice(0, 2).join('.'));
  });

  test('what is not a description is refused', () => {
    for (const raw of [null, 1, 'maia-200', [], {}]) expect(() => checkDevice(raw)).toThrow('device: name');
    expect(() => device('maia-300')).toThrow('have maia-100, maia-200, edge-npu');
  });
});
