import { expect, test } from 'vitest';
import { BREAKER, breakerState, closedBreaker, failed, sent, succeeded } from '../../policy/breaker.ts';
import { ewma, observe } from '../../policy/ewma.ts';
import {
  learnLocal,
  learnNpu,
  newRoute,
  patience,
  ROUTE,
  type RouteInput,
  type RouteState,
  route,
  routeFailed,
  routeSent,
  settled,
} from '../../policy/route.ts';

const input: RouteInput = {
  promptTokens: 2000,
  cachedTokens: 0,
  kvBytesPerToken: 10_000,
  uploadBytes: 0,
  queueMs: 0,
  pagesUsed: 100,
  pages: 1000,
  pagesNeeded: 125,
  decoding: 0,
  stepTokens: 64,
  sameNumerics: true,
};
// local 1 token a ms; accelerator 20 a ms; link 100,000 bytes a ms; 5 ms overhead
const known = (value: number) => ({ value, samples: 1 });
const state: RouteState = {
  ...{ ...newRoute(), local: known(1), npu: known(20), device: known(200), link: known(100_000), overhead: known(5), credit: 5000 },
};
const where = (x: Partial<RouteInput>, s = state, now = 0) => {
  const r = route(s, { ...input, ...x }, now);
  return `${r.place} ${r.why}`;
};

test('the estimate: transfer + queue + compute against local compute of the uncached part', () => {
  expect(route(state, input, 0)).toEqual({ place: 'npu', why: 'faster', localMs: 2000, npuMs: 5 + 100 + 200, deviceMs: 5 + 10 + 200 });
  const shared = route(state, { ...input, decoding: 32, cachedTokens: 1000, queueMs: 50, uploadBytes: 1e6 }, 0);
  expect(shared.localMs).toBeCloseTo(2000); // half of each step goes to the decodes
  expect(shared.npuMs).toBeCloseTo(5 + 50 + 50 + 100 + 10);
});

test('two-sided threshold, and every veto', () => {
  expect(where({ promptTokens: 255 })).toBe('local short');
  expect(where({ cachedTokens: 1500 })).toBe('local cached');
  expect(where({ queueMs: 10_001 })).toBe('local queue');
  expect(where({ pagesUsed: 900 })).toBe('local memory');
  expect(where({ sameNumerics: false })).toBe('local numerics');
  expect(where({ queueMs: 1500 })).toBe('local slower');
  expect(ROUTE.margin).toBeLessThan(1);
});

test('rates are learned, inside bounds', () => {
  let s = state;
  for (let i = 0; i < 100; i++) s = learnNpu(s, { tokens: 1000, bytes: 1e7, computeMs: 1000, transferMs: 1000, totalMs: 2050 }, 0);
  expect(s.npu.value).toBeCloseTo(1);
  expect(s.link.value).toBeCloseTo(10_000);
  expect(s.overhead.value).toBeCloseTo(50);
  expect(where({}, s)).toBe('local slower');
  for (let i = 0; i < 100; i++) s = learnLocal(s, 100, 1000);
  expect(s.local.value).toBeCloseTo(0.1);
  expect(where({}, s)).toBe('npu faster');
  expect(learnLocal(s, 100, 0)).toBe(s);
  const bounds = { alpha: 0.5, min: 1, max: 10 };
  expect(observe(ewma(5), Number.NaN, bounds)).toEqual(ewma(5));
  expect(observe({ value: 5, samples: 9 }, 1e9, bounds).value).toBe(7.5);
});

test('the breaker opens after failures in a row, lets one probe through, and doubles its pause', () => {
  let b = closedBreaker();
  b = failed(failed(b, 0), 0);
  expect(breakerState(b, 0)).toBe('closed');
  b = failed(b, 10);
  expect(breakerState(b, 10 + BREAKER.pauseMs - 1)).toBe('open');
  expect(breakerState(b, 10 + BREAKER.pauseMs)).toBe('half-open');
  b = sent(b, 1_010);
  expect(breakerState(b, 1_011)).toBe('open'); // the probe is under way
  expect(breakerState(b, 1_010 + BREAKER.probeMs)).toBe('half-open'); // and was lost
  b = failed(b, 1_020);
  expect(breakerState(b, 1_020 + 1_999)).toBe('open');
  expect(breakerState(b, 1_020 + 2_000)).toBe('half-open');
  expect(breakerState(succeeded(), 0)).toBe('closed');
});

test('routing survives the death of the accelerator: local until a probe succeeds', () => {
  let s = state;
  for (let i = 0; i < 3; i++) s = routeFailed(routeSent(s, 0), 0);
  expect(where({}, s, 500)).toBe('local breaker');
  expect(where({}, s, 1_000)).toBe('local probe'); // it is asked for nobody
  s = routeSent(s, 1_000);
  expect(where({}, s, 1_001)).toBe('local breaker');
  s = learnNpu(s, { tokens: 10, bytes: 10, computeMs: 100, transferMs: 100, totalMs: 205 }, 1_002);
  expect(where({}, s, 1_002)).toMatch(/^npu/); // and so small a sample taught nothing but that
});

test('what was never measured decides nothing: the accelerator is probed for nobody, and so is one that was slow as doubt grows', () => {
  const slow = { ...state, npu: { value: 0.5, samples: 3 }, measured: 1_000 }; // some 2.2 times as slow as the replica
  expect(where({}, { ...slow, npu: { value: 0.5, samples: 0 } })).toBe('local probe');
  expect(route({ ...state, local: { value: 0.01, samples: 0 } }, input, 0)).toMatchObject({
    place: 'local',
    why: 'probe',
    localMs: undefined,
  });
  expect(where({}, slow, 1_000 + ROUTE.believeMs)).toBe('local slower');
  expect(where({}, slow, 1_000 + 2 * ROUTE.believeMs)).toBe('local slower');
  expect(where({}, slow, 1_000 + 3 * ROUTE.believeMs)).toBe('local probe');
  expect(where({ queueMs: 10_001 }, slow, 1_000 + 9 * ROUTE.believeMs)).toBe('local queue');
});

test('a failure opens nothing by itself and teaches only that the accelerator is no faster than what it showed', () => {
  expect(routeFailed(state, 7).npu).toEqual(state.npu);
  expect(routeFailed(state, 7, 30).npu).toEqual(state.npu); // it was believed slower already
  const s = routeFailed(state, 7, 0.1);
  expect(s.npu.value).toBeLessThan(20);
  expect(s.measured).toBe(7);
  expect(breakerState(s.breaker, 7)).toBe('closed');
});

test('what may be lost is a tenth of the local time so far, and never more than one prompt takes here', () => {
  let s: RouteState = { ...state, credit: 0 };
  expect(patience(s, 1000)).toBe(100);
  expect(where({}, { ...s, npu: known(2) })).toBe('npu faster'); // 256 tokens come in 159 ms; 200 may be lost
  expect(where({ promptTokens: 1500 }, { ...s, npu: known(2) })).toBe('local credit'); // 150
  for (let i = 0; i < 3; i++) s = settled(s, 1000, 0);
  expect(patience(s, 1000)).toBeCloseTo(400);
  s = settled(s, 1000, 400);
  expect(s.credit).toBeCloseTo(0);
  s = settled(s, 1000, -700);
  expect(s.credit).toBeCloseTo(800);
  expect(patience(s, 200)).toBe(200);
  expect(settled(s, 1000, 5000).credit).toBe(0);
  expect(settled(s, 1000, -1e6).credit).toBe(ROUTE.maxCredit);
});

test("a simulated device's own time decides where it is asked to", () => {
  const slow = { ...state, npu: known(0.1) };
  expect(where({}, slow)).toBe('local slower');
  expect(where({ byDeviceTime: true }, slow)).toBe('npu faster');
  expect(where({ byDeviceTime: true }, { ...slow, device: known(0.5) })).toBe('local slower');
  expect(where({ byDeviceTime: true, promptTokens: 255 }, slow)).toBe('local short');
});

test('half open, a probe goes whatever the estimate', () => {
  let s: RouteState = { ...state, npu: { value: 0.1, samples: 9 } };
  for (let i = 0; i < 3; i++) s = routeFailed(routeSent(s, 0), 0);
  expect(where({}, s, 999)).toBe('local breaker');
  expect(where({}, s, 1_000)).toBe('local probe');
  expect(where({ promptTokens: 100 }, s, 1_000)).toBe('local short');
});
