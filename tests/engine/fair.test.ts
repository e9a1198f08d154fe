/** Two keys on one engine: what one of them asks for does not decide when the other's answer begins. */
import { describe, expect, it } from 'vitest';
import { type Engine, type GenerateRequest, GREEDY } from '../../engine/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import { drain, noise, type TestEngineOptions, testEngine, tiny } from './random-model.ts';

const modules = wasmModules();
const engineOf = (o: TestEngineOptions = {}): Engine => testEngine(createWasm({ modules, memoryBytes: 16 << 20 }), o);

const prompt = (seed: number, length: number) => {
  const next = noise(seed);
  return Array.from({ length }, () => Math.floor(((next() + 1) / 2) * tiny.vocab));
};

/** A request of `owner`, each under a salt of its own: a key that salts its cache does not get more for it. */
const request = (owner: string, i: number, length: number, maxTokens: number): GenerateRequest => ({
  ...{ id: `${owner}${i}`, prompt: prompt(i + (owner === 'b' ? 1000 : 0), length), maxTokens, stopIds: [], owner, salt: `${owner} ${i}` },
  sampling: { ...GREEDY, temperature: 0.8, seed: [i, owner.charCodeAt(0)] },
});

/** Steps until each first token. */
async function firsts(engine: Engine, budget: number, most: number): Promise<Map<string, number>> {
  const at = new Map<string, number>();
  for (let step = 1; engine.busy && step <= most; step++) {
    for (const e of await engine.step(budget)) if (e.tokens.length > 0 && !at.has(e.request)) at.set(e.request, step);
  }
  return at;
}

describe('one key’s crowd', () => {
  it('of long prompts: another’s prompt is computed next', async () => {
    const engine = engineOf();
    for (let i = 0; i < 12; i++) engine.add(request('a', i, 200, 4));
    await engine.step(16);
    engine.add(request('b', 0, 40, 4));
    const at = await firsts(engine, 16, 60);
    expect(at.get('b0')).toBeLessThanOrEqual(7); // its 3 chunks take turns with those of the other
    expect([...at.keys()][0]).toBe('b0');
  });

  it('of waiting sequences: another’s gets the next place', async () => {
    const engine = engineOf({ maxSequences: 4 });
    for (let i = 0; i < 40; i++) engine.add(request('a', i, 10, 6));
    for (let i = 0; i < 3; i++) await engine.step();
    engine.add(request('b', 0, 10, 6));
    engine.add(request('b', 1, 10, 6));
    const order = [...(await firsts(engine, 64, 400)).keys()];
    expect(order.indexOf('b0')).toBeLessThanOrEqual(5); // after those that ran
    expect(order.indexOf('b1')).toBeLessThanOrEqual(9);
    expect(order).toHaveLength(42);
  });

  it('of long answers, more than the step’s budget: another’s prompt is computed all the same', async () => {
    const engine = engineOf();
    for (let i = 0; i < 15; i++) engine.add(request('a', i, 5, 150));
    for (let i = 0; i < 8; i++) await engine.step(64);
    engine.add(request('b', 0, 60, 4));
    expect((await firsts(engine, 8, 12)).get('b0')).toBeLessThanOrEqual(5); // 16 tokens a step
  });

  it('that fills the pages: its own give way, another’s goes on', async () => {
    const engine = engineOf({ pages: 40 });
    for (let i = 0; i < 8; i++) engine.add(request('a', i, 40, 80));
    engine.add(request('b', 0, 20, 60));
    let got = 0;
    let silent = 0; // steps after b's first token in which it got none
    while (engine.busy && got < 60) {
      const events = await engine.step();
      const mine = events.find((e) => e.request === 'b0')?.tokens.length ?? 0;
      got += mine;
      if (got > 0 && mine === 0) silent++;
    }
    expect(engine.stats().preemptions).toBeGreaterThan(0);
    expect([got, silent]).toEqual([60, 0]);
  });

  it('and whatever happens, each says what it says alone, and all end', async () => {
    const all = [...Array.from({ length: 9 }, (_, i) => request('a', i, 30 + i, 30)), request('b', 0, 50, 30), request('c', 0, 7, 30)];
    const crowd = engineOf({ pages: 24, maxSequences: 6 });
    for (const r of all) crowd.add(r);
    const together = await drain(crowd, new Map(), 16);
    expect(crowd.stats()).toMatchObject({ running: 0, waiting: 0, pages: { referenced: 0 } });
    for (const r of all) {
      const engine = engineOf();
      engine.add(r);
      expect([r.id, together.get(r.id)]).toEqual([r.id, (await drain(engine)).get(r.id)]);
    }
  });
});

it('who comes and goes does not save up, nor pay for others', async () => {
  const engine = engineOf({ maxSequences: 2 });
  for (let i = 0; i < 6; i++) engine.add(request('a', i, 100, 10));
  for (let i = 0; i < 30; i++) await engine.step(32);
  // b is new and level with a: they take turns from here
  for (let i = 0; i < 6; i++) engine.add(request('b', i, 100, 10));
  const order = [...(await firsts(engine, 32, 400)).keys()].map((id) => id[0]);
  expect(order.filter((o) => o === 'b')).toHaveLength(6);
  const early = order.slice(0, 8);
  expect(early.filter((o) => o === 'a').length).toBeGreaterThanOrEqual(2);
  expect(early.filter((o) => o === 'b').length).toBeGreaterThanOrEqual(2);
});
