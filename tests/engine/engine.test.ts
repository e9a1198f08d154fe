import { describe, expect, it } from 'vitest';
import { type Constraint, type Engine, type GenerateRequest, GREEDY } from '../../engine/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import { drain, noise, testEngine, tiny } from './random-model.ts';

const modules = wasmModules();
const wasm = () => createWasm({ modules, memoryBytes: 16 << 20 });

const prompt = (seed: number, length: number) => {
  const next = noise(seed);
  return Array.from({ length }, () => Math.floor(((next() + 1) / 2) * tiny.vocab));
};

const request = (id: string, p: number[], o: Partial<GenerateRequest> = {}): GenerateRequest => ({
  id,
  prompt: p,
  maxTokens: 24,
  stopIds: [],
  sampling: GREEDY,
  salt: 't',
  ...o,
});
const hot = { ...GREEDY, temperature: 0.9, seed: [5, 6] as const };

async function alone(r: GenerateRequest, o = {}): Promise<number[]> {
  const engine = testEngine(wasm(), o);
  engine.add(r);
  return (await drain(engine)).get(r.id)!;
}

const allPagesBack = (e: Engine) => expect(e.stats().pages.referenced).toBe(0);

describe('a token does not depend on', () => {
  const requests = [
    request('a', prompt(1, 37)),
    request('b', prompt(2, 5), { sampling: hot }),
    request('c', prompt(3, 90), { sampling: { ...hot, topP: 0.9, topK: 20 } }),
    request('d', prompt(4, 16), { sampling: { ...GREEDY, repetition: 1.3, frequency: 0.2, presence: 0.1, logitBias: [[7, 2]] } }),
    request('e', prompt(5, 1), { sampling: { ...hot, minP: 0.05 } }),
  ];

  it('its batch or the chunking', async () => {
    const single = new Map<string, number[]>();
    for (const r of requests) single.set(r.id, await alone(r));
    for (const budget of [7, 16, 64]) {
      const engine = testEngine(wasm(), { maxTokens: 64 });
      for (const r of requests) engine.add(r);
      expect(await drain(engine, new Map(), budget)).toEqual(single);
      allPagesBack(engine);
    }
    // sampling does sample
    expect(await alone(request('b', prompt(2, 5), { sampling: { ...hot, seed: [9, 9] } }))).not.toEqual(single.get('b'));
  });

  it('a prefix hit', async () => {
    const engine = testEngine(wasm());
    const p = prompt(8, 60);
    const cold = await alone(request('x', p, { sampling: hot }));
    engine.add(request('x', p, { sampling: hot }));
    const events = [];
    while (engine.busy) events.push(...(await engine.step()));
    expect(events.flatMap((e) => e.tokens.map((t) => t.id))).toEqual(cold);
    expect(events[0].cachedTokens).toBe(0);
    engine.add(request('y', p, { sampling: hot }));
    const again = [];
    while (engine.busy) again.push(...(await engine.step()));
    expect(again[0].cachedTokens).toBe(48);
    expect(again.flatMap((e) => e.tokens.map((t) => t.id))).toEqual(cold);
    engine.add(request('z', p, { sampling: hot, salt: 'other tenant' }));
    expect((await engine.step())[0].cachedTokens).toBe(0);
  });

  it('the beginning of a page that others made', async () => {
    const p = prompt(8, 60);
    const engine = testEngine(wasm());
    engine.add(request('x', p, { sampling: hot }));
    const first = (await drain(engine)).get('x')!;
    // a page holds the prompt's last 12 tokens and more: all but one of them are copied, and one is computed
    engine.add(request('y', p, { sampling: hot }));
    await engine.step();
    expect(engine.lastStep.tokens).toBe(1);
    expect((await drain(engine)).get('y')).toEqual(first.slice(1));
    // it goes on inside a page of what was said, the last of which is not whole
    const longer = [...p, ...first.slice(0, first.length - 3), 5, 6, 7];
    const cold = await alone(request('z', longer, { sampling: hot }));
    engine.add(request('z', longer, { sampling: hot }));
    const got = (await engine.step()).flatMap((e) => e.tokens.map((t) => t.id));
    expect(engine.lastStep.tokens).toBe(3);
    expect([...got, ...((await drain(engine)).get('z') ?? [])]).toEqual(cold);
    // another tenant has nothing of it
    engine.add(request('w', p, { sampling: hot, salt: 'other tenant' }));
    await engine.step();
    expect(engine.lastStep.tokens).toBe(60);
  });

  it('preemption: pages run out, the youngest is computed again', async () => {
    const rs = [1, 2, 3, 4].map((i) => request(`r${i}`, prompt(20 + i, 30), { maxTokens: 40, sampling: hot }));
    const single = new Map<string, number[]>();
    for (const r of rs) single.set(r.id, await alone(r));
    const engine = testEngine(wasm(), { pages: 12 });
    for (const r of rs) engine.add(r);
    expect(await drain(engine)).toEqual(single);
    expect(engine.stats().preemptions).toBeGreaterThan(0);
    allPagesBack(engine);
  });

  it('speculation', async () => {
    const loop = Array.from({ length: 60 }, (_, i) => [3, 1, 4, 1, 5, 9][i % 6]);
    const few: [number, number][] = [3, 1, 4].map((id) => [id, 12]);
    for (const sampling of [GREEDY, { ...hot, logitBias: few }, { ...GREEDY, frequency: 0.01, logitBias: few }]) {
      const plain = await alone(request('p', loop, { sampling, maxTokens: 60 }), { rowCost: Number.POSITIVE_INFINITY });
      const engine = testEngine(wasm(), { rowCost: 0.01 });
      engine.add(request('p', loop, { sampling, maxTokens: 60 }));
      expect((await drain(engine)).get('p')).toEqual(plain);
      expect(engine.stats().draft.proposed).toBeGreaterThan(0);
      allPagesBack(engine);
    }
  });

  it('speculation under a constraint that can look ahead', async () => {
    const loop = Array.from({ length: 60 }, (_, i) => [3, 1, 4, 1, 5, 9][i % 6]);
    /** Only the loop's ids, never the same twice in a row, as a state machine that can be copied. */
    const ring = (last: number): Constraint => {
      let at = last;
      return {
        mask() {
          const words = new Uint32Array(Math.ceil(tiny.vocab / 32));
          for (const id of [1, 3, 4, 5, 9]) if (id !== at) words[id >> 5] |= 1 << (id & 31);
          return words;
        },
        accept(id) {
          expect(id).not.toBe(at);
          at = id;
        },
        clone: () => ring(at),
      };
    };
    const run = async (rowCost: number) => {
      const engine = testEngine(wasm(), { rowCost });
      engine.add(request('c', loop, { sampling: hot, maxTokens: 60, constraint: ring(9) }));
      return { ids: (await drain(engine)).get('c'), draft: engine.stats().draft };
    };
    const plain = await run(Number.POSITIVE_INFINITY);
    const eager = await run(0.01);
    expect(eager.ids).toEqual(plain.ids);
    expect(eager.draft.proposed).toBeGreaterThan(0);
    expect(eager.draft.accepted).toBeGreaterThan(0);
  });

  it('where it was begun: a generation continued from its tokens', async () => {
    const r = request('g', prompt(31, 20), { sampling: { ...hot, frequency: 0.4 }, maxTokens: 30 });
    const whole = await alone(r);
    for (const cut of [1, 7, 15, 29]) {
      expect(await alone({ ...r, generated: whole.slice(0, cut) })).toEqual(whole.slice(cut));
    }
  });

  it('the replica its pages come from', async () => {
    const p = prompt(40, 50);
    const a = testEngine(wasm());
    a.add(request('q', p));
    const cold = (await drain(a)).get('q');
    const b = testEngine(wasm());
    for (const name of b.names.chain(p, 't')) b.importPage(name, (await a.exportPage(name))!);
    b.add(request('q', p));
    const first = await b.step();
    expect(first[0].cachedTokens).toBe(48);
    const rest = await drain(b);
    expect([...first[0].tokens.map((t) => t.id), ...rest.get('q')!]).toEqual(cold);
  });

  it('and a replica whose pages are swapped is found out by its bits', async () => {
    const r = request('q', prompt(40, 50), { sampling: { ...hot, logprobs: 1 } });
    const bits = async (e: Engine) => {
      e.add(r);
      const out: number[] = [];
      while (e.busy) for (const event of await e.step()) for (const t of event.tokens) out.push(t.id, t.logprob!);
      return out;
    };
    const a = testEngine(wasm());
    const cold = await bits(a);
    const names = a.names.chain(r.prompt, 't');
    const pages = await Promise.all(names.map((n) => a.exportPage(n)));
    for (const order of [
      [0, 1, 2],
      [1, 0, 2],
    ]) {
      const b = testEngine(wasm());
      names.forEach((n, i) => {
        b.importPage(n, pages[order[i]]!);
      });
      if (order[0] === 0) expect(await bits(b)).toEqual(cold);
      else expect(await bits(b)).not.toEqual(cold);
    }
  });
});

describe('life of a request', () => {
  it('abort frees its pages at once, also in the middle of a prefill', async () => {
    const engine = testEngine(wasm());
    engine.add(request('a', prompt(1, 100)));
    await engine.step(16);
    expect(engine.stats().pages.referenced).toBeGreaterThan(0);
    engine.abort('a');
    allPagesBack(engine);
    engine.add(request('b', prompt(2, 30)));
    const step = engine.step();
    engine.abort('b'); // during the step
    await step;
    allPagesBack(engine);
    expect(engine.busy).toBe(false);
  });

  it('an id is free at once: what was aborted in the middle of a step ends beside the next of that name', async () => {
    const wanted = await alone(request('a', prompt(2, 30)));
    const engine = testEngine(wasm());
    engine.add(request('a', prompt(1, 30)));
    const step = engine.step();
    engine.abort('a');
    engine.add(request('a', prompt(2, 30)));
    const told = await step;
    expect(told).toEqual([]);
    expect((await drain(engine)).get('a')).toEqual(wanted);
    allPagesBack(engine);
    expect(engine.busy).toBe(false);
  });

  it('a new owner finds nothing of it, not even of what was aborted in the middle of a step', async () => {
    const engine = testEngine(wasm());
    engine.add(request('a', prompt(1, 30)));
    const step = engine.step();
    engine.abort('a');
    engine.reset();
    allPagesBack(engine);
    expect(engine.busy).toBe(false);
    await step;
  });

  it('stops at a stop id without reporting it, and not before minTokens', async () => {
    const free = await alone(request('s', prompt(6, 9)));
    const stop = free[3];
    const at = free.indexOf(stop);
    expect(await alone(request('s', prompt(6, 9), { stopIds: [stop] }))).toEqual(free.slice(0, at));
    const late = await alone(request('s', prompt(6, 9), { stopIds: [stop], sampling: { ...GREEDY, minTokens: at + 5 } }));
    expect(late.length).toBeGreaterThanOrEqual(at + 5);
    // what comes before it is what comes freely, less the stop id, which is banned until then; after it, the first stop id ends
    expect(late.slice(0, at)).toEqual(free.slice(0, at));
    expect(late.slice(0, at + 5)).not.toContain(stop);
    const later = late.findIndex((id, i) => i >= at + 5 && !late.slice(0, i).includes(id));
    expect(later).toBeGreaterThan(0);
    const options = { stopIds: [stop, late[later]], sampling: { ...GREEDY, minTokens: at + 5 } };
    expect(await alone(request('s', prompt(6, 9), options))).toEqual(late.slice(0, later));
  });

  it('refuses what can never run, before any page is taken', () => {
    const engine = testEngine(wasm(), { pages: 20 });
    expect(() => engine.add(request('e', []))).toThrow(/empty/);
    expect(() => engine.add(request('l', prompt(1, 320)))).toThrow(/at most 319/);
    expect(() => engine.add(request('v', [tiny.vocab]))).toThrow(/vocabulary/);
    allPagesBack(engine);
    expect(engine.busy).toBe(false);
  });

  it('a constraint bans tokens, logprobs are normalised', async () => {
    const engine = testEngine(wasm());
    const mask = new Uint32Array(Math.ceil(tiny.vocab / 32));
    for (const id of [5, 77, 130]) mask[id >> 5] |= 1 << (id & 31);
    const accepted: number[] = [];
    engine.add(
      request('c', prompt(9, 12), {
        sampling: { ...hot, logprobs: 3 },
        constraint: { mask: () => mask, accept: (id) => accepted.push(id) },
      }),
    );
    const tokens = [];
    while (engine.busy) for (const e of await engine.step()) tokens.push(...e.tokens);
    expect(new Set(tokens.map((t) => t.id)).size).toBeGreaterThan(1);
    for (const t of tokens) {
      expect([5, 77, 130]).toContain(t.id);
      expect(t.top!.reduce((s, x) => s + Math.exp(x.logprob), 0)).toBeCloseTo(1, 4);
    }
    expect(accepted).toEqual(tokens.map((t) => t.id));
  });

  it('a constraint that fails ends its own sequence only', async () => {
    const engine = testEngine(wasm());
    const single = await alone(request('ok', prompt(2, 20)));
    let left = 3;
    const failing: Constraint = {
      mask() {
        if (left-- === 0) throw new Error('too much work');
        return null;
      },
      accept() {},
    };
    engine.add(request('bad', prompt(1, 20), { constraint: failing }));
    engine.add(request('ok', prompt(2, 20)));
    const ids: number[] = [];
    let error: unknown;
    while (engine.busy) {
      for (const e of await engine.step()) {
        if (e.request === 'ok') ids.push(...e.tokens.map((t) => t.id));
        else error ??= e.error;
      }
    }
    expect(String(error)).toContain('too much work');
    expect(ids).toEqual(single);
    allPagesBack(engine);
  });

  it('identical prompts that arrive together are computed once', async () => {
    const engine = testEngine(wasm());
    const p = prompt(12, 64);
    for (let i = 0; i < 4; i++) engine.add(request(`n${i}`, p, { sampling: { ...hot, seed: [i, 0] } }));
    const cached: number[] = [];
    while (engine.busy) for (const e of await engine.step()) if (e.cachedTokens !== undefined) cached.push(e.cachedTokens);
    expect(cached.sort((a, b) => a - b)).toEqual([0, 48, 48, 48]);
  });
});
