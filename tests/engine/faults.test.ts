/** Whatever is thrown for one sequence fails that one alone: thrown from every place that has a chance to, beside sequences of others. */
import { sha256 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';
import { type Backend, type Constraint, type GenerateRequest, GREEDY, type Sampling, type StepEvent } from '../../engine/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import { noise, type TestEngineOptions, testEngine, tiny } from './random-model.ts';

const modules = wasmModules();
const wasm = () => createWasm({ modules, memoryBytes: 16 << 20 });
/** The token that the culprit says and nobody else: where it is, the culprit is. */
const MARK = 11;
const words = Math.ceil(tiny.vocab / 32);

const prompt = (seed: number, length: number) => {
  const next = noise(seed);
  return Array.from({ length }, () => Math.floor(((next() + 1) / 2) * tiny.vocab)).map((id) => (id === MARK ? MARK + 1 : id));
};

const hot = { ...GREEDY, temperature: 0.9, seed: [5, 6] as const, logitBias: [[MARK, -100]] as const };
const request = (id: string, p: readonly number[], o: Partial<GenerateRequest> = {}): GenerateRequest => ({
  ...{ id, prompt: p, maxTokens: 20, stopIds: [], sampling: hot, salt: 'their key' },
  ...o,
});
const others = [
  request('a', prompt(1, 37)),
  request('b', prompt(2, 90), { sampling: { ...hot, topP: 0.9, logprobs: 2 } }),
  request('c', prompt(3, 5), { sampling: { ...hot, temperature: 0, repetition: 1.2 }, constraint: anything() }),
  request('d', prompt(4, 18), { maxTokens: 40 }),
];
const culprit = (o: Partial<GenerateRequest> = {}): GenerateRequest =>
  request('culprit', Array(40).fill(MARK), { sampling: { ...hot, logitBias: [[MARK, 100]] }, salt: 'another key', ...o });

function anything(): Constraint {
  return { mask: () => null, accept() {}, clone: anything };
}

interface Result {
  tokens: Map<string, number[]>;
  errors: Map<string, unknown>;
  finish: Map<string, StepEvent['finish']>;
}

async function run(be: Backend, requests: readonly GenerateRequest[], o: TestEngineOptions = {}): Promise<Result> {
  const engine = testEngine(be, o);
  for (const r of requests) engine.add(r);
  const result: Result = { tokens: new Map(), errors: new Map(), finish: new Map() };
  while (engine.busy) {
    for (const e of await engine.step(32)) {
      expect(result.errors.has(e.request)).toBe(false); // nothing comes after an error
      result.tokens.set(e.request, [...(result.tokens.get(e.request) ?? []), ...e.tokens.map((t) => t.id)]);
      if (e.error !== undefined) result.errors.set(e.request, e.error);
      if (e.finish) result.finish.set(e.request, e.finish);
    }
  }
  expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, pages: { referenced: 0 } });
  return result;
}

const alone = await run(wasm(), others);

/** The culprit fails with `message`, and the others say what they say without it. */
async function contained(message: string, o: { be?: Backend; culprit?: GenerateRequest; engine?: TestEngineOptions }): Promise<void> {
  const [a, b, ...rest] = others;
  const got = await run(o.be ?? wasm(), [a, b, o.culprit ?? culprit(), ...rest], o.engine);
  expect([...got.errors.keys()]).toEqual(['culprit']);
  expect(String(got.errors.get('culprit'))).toContain(message);
  for (const { id } of others) expect([id, got.tokens.get(id)]).toEqual([id, alone.tokens.get(id)]);
}

/** An object whose properties throw from the `n`th look on. */
function trap<T extends object>(of: T, key: keyof T, n: number): T {
  let looks = 0;
  const value = of[key];
  return Object.defineProperty({ ...of }, key, {
    enumerable: true,
    get() {
      if (++looks > n) throw new Error(`${String(key)} is a trap`);
      return value;
    },
  });
}

const OPS = ['embed', 'norm', 'matmul', 'ropeStore', 'attention', 'glu', 'editLogits', 'topk', 'write', 'read'] as const;

/** A backend whose `op` throws, from its `after`th call on, in every step that the culprit rides in. */
function broken(op: (typeof OPS)[number] | 'submit', after: number, how: 'throws' | 'rejects' = 'throws'): Backend {
  const be = wasm();
  let rides = false;
  let calls = 0;
  const watched: Backend = {
    ...be,
    write(buf, bytes, offset) {
      if (buf.label === 'ids') rides = new Uint32Array(bytes.slice().buffer).includes(MARK);
      be.write(buf, bytes, offset);
    },
  };
  const original = watched[op] as (...args: unknown[]) => unknown;
  return {
    ...watched,
    [op]: (...args: unknown[]) => {
      const result = original(...args);
      if (!rides || ++calls <= after) return result;
      const error = new Error(`${op} broke`);
      if (how === 'rejects') return Promise.reject(error);
      throw error;
    },
  };
}

describe('one sequence alone fails of what is thrown by', () => {
  it.each(OPS.flatMap((op) => [0, 3, 15].map((after) => [op, after] as const)))('the backend: %s, after %i calls', async (op, after) => {
    await contained(`${op} broke`, { be: broken(op, after) });
  });

  it('the device: read rejects', async () => {
    await contained('read broke', { be: broken('read', 2, 'rejects') });
  });

  it.each(['throws', 'rejects'] as const)('the device: submit %s, in the middle of its prompt', async (how) => {
    for (const after of [0, 1]) {
      const got = await run(broken('submit', after, how), [culprit({ prompt: Array(90).fill(MARK) }), ...others]);
      expect(String(got.errors.get('culprit'))).toContain('submit broke');
      expect(got.errors.size).toBe(1);
      for (const { id } of others) expect(got.tokens.get(id)).toEqual(alone.tokens.get(id));
    }
  });

  it.each(['mask', 'accept'] as const)('its constraint: %s', async (what) => {
    for (const n of [0, 1, 7]) {
      let calls = 0;
      const bad = (): Constraint => {
        const count = () => {
          if (++calls > n) throw new Error(`${what} broke`);
        };
        return {
          mask() {
            if (what === 'mask') count();
            return null;
          },
          accept() {
            if (what === 'accept') count();
          },
        };
      };
      await contained(`${what} broke`, { culprit: culprit({ constraint: bad() }) });
    }
  });

  it('its constraint, of which no copy can be made or goes on: it is not drafted for', async () => {
    for (const clone of [
      () => {
        throw new Error('no copies');
      },
      () => ({
        ...anything(),
        accept() {
          throw new Error('not on');
        },
      }),
    ]) {
      const got = await run(wasm(), [culprit({ constraint: { ...anything(), clone } }), ...others], { rowCost: 0.01 });
      expect(got.errors.size).toBe(0);
      expect(got.tokens.get('culprit')).toHaveLength(20);
    }
  });

  it.each(Object.keys(GREEDY).concat('logprobs') as (keyof Sampling)[])('its sampling: %s', async (key) => {
    const sampling: Sampling = { ...hot, ...{ logitBias: [[MARK, 100]], topK: 5, repetition: 1.1, logprobs: 1 } };
    let failed = 0;
    for (const n of [1, 2, 4, 9]) {
      const bad = culprit({ sampling: trap(sampling, key, n) });
      const engine = testEngine(wasm());
      try {
        engine.add(bad);
      } catch {
        expect(engine.busy).toBe(false); // it did not come in
        continue;
      }
      await contained('is a trap', { culprit: culprit({ sampling: trap(sampling, key, n) }) });
      failed++;
    }
    expect(failed).toBeGreaterThan(0);
  });

  it.each(['stopIds', 'maxTokens', 'constraint'] as const)('its request: %s', (key) =>
    contained('is a trap', { culprit: trap(culprit(), key, 3) }),
  );

  it('its salt, which is read as it comes in and never again', async () => {
    for (const n of [0, 1]) {
      const engine = testEngine(wasm());
      expect(() => engine.add(trap(culprit(), 'salt', n))).toThrow('is a trap');
      expect(engine.busy).toBe(false); // it did not come in
    }
    const got = await run(wasm(), [trap(culprit(), 'salt', 2), ...others]);
    expect(got.errors.size).toBe(0);
    expect(got.tokens.get('culprit')).toHaveLength(20);
  });

  it('what names its pages', async () => {
    const hash = (n: number) => {
      let calls = 0;
      return (bytes: Uint8Array) => {
        const ids = bytes.byteLength === 96 ? new Uint32Array(bytes.slice(32).buffer) : [];
        if (ids.includes(MARK as never) && ++calls > n) throw new Error('no name');
        return sha256(bytes);
      };
    };
    for (const n of [0, 1, 2]) await contained('no name', { engine: { hash: hash(n) } });
  });

  it('logits from which nothing can be drawn', async () => {
    const beyond = new Uint32Array(words);
    beyond[words - 1] = 1 << 31; // an id that the vocabulary does not have
    const none: Constraint = { mask: () => beyond, accept() {} };
    for (const temperature of [0, 1]) {
      await contained('no token can be drawn', { culprit: culprit({ constraint: none, sampling: { ...hot, temperature } }) });
    }
  });

  it('two at once', async () => {
    const throws: Constraint = {
      mask() {
        throw new Error('mine');
      },
      accept() {},
    };
    const second = request('second', prompt(9, 20), { constraint: throws });
    const got = await run(broken('attention', 40), [second, ...others, culprit()]);
    expect([...got.errors.keys()].sort()).toEqual(['culprit', 'second']);
    for (const { id } of others) expect(got.tokens.get(id)).toEqual(alone.tokens.get(id));
  });
});

it('a step that failed once and then does not hurts nobody', async () => {
  const be = wasm();
  let steps = 0;
  const hiccup: Backend = {
    ...be,
    topk(...args) {
      if (++steps === 7) throw new Error('once');
      be.topk(...args);
    },
  };
  const got = await run(hiccup, others);
  expect(got.errors.size).toBe(0);
  expect(got.tokens).toEqual(alone.tokens);
});

it('a copy of the beginning of a page that fails is computed instead', async () => {
  const be = wasm();
  let copies = 0;
  const engine = testEngine({
    ...be,
    copyPages() {
      copies++;
      throw new Error('no copies');
    },
  });
  const said: number[][] = [];
  for (const id of ['first', 'second']) {
    engine.add(request(id, others[0].prompt));
    const ids: number[] = [];
    while (engine.busy) for (const e of await engine.step()) ids.push(...e.tokens.map((t) => t.id));
    said.push(ids);
  }
  expect(copies).toBe(1);
  expect(said).toEqual([alone.tokens.get('a'), alone.tokens.get('a')]);
  expect(engine.stats().pages.referenced).toBe(0);
});

describe('a constraint that allows nothing more', () => {
  const only = (ids: (step: number) => readonly number[]): Constraint => {
    let step = 0;
    return {
      mask() {
        const mask = new Uint32Array(words);
        for (const id of ids(step)) mask[id >> 5] |= 1 << (id & 31);
        return mask;
      },
      accept() {
        step++;
      },
    };
  };

  it.each([0, 0.9])('ends the generation, at temperature %d', async (temperature) => {
    const r = request('ends', prompt(1, 9), { sampling: { ...hot, temperature }, constraint: only((n) => (n < 3 ? [40, 41] : [])) });
    const got = await run(wasm(), [r, ...others]);
    expect(got.errors.size).toBe(0);
    expect(got.finish.get('ends')).toBe('stop');
    expect(got.tokens.get('ends')).toHaveLength(3);
    for (const { id } of others) expect(got.tokens.get(id)).toEqual(alone.tokens.get(id));
  });

  it('ends it before min_tokens, by a stop id that would be banned', async () => {
    const STOP = 50;
    const sampling = { ...hot, minTokens: 15 };
    const ends = only((n) => (n < 3 ? [40, STOP] : [STOP])); // banned, then all there is
    const got = await run(wasm(), [request('ends', prompt(1, 9), { sampling, stopIds: [STOP], constraint: ends }), ...others]);
    expect(got.errors.size).toBe(0);
    expect(got.finish.get('ends')).toBe('stop');
    expect(got.tokens.get('ends')).toEqual([40, 40, 40]);
  });
});

it.each(['logitBias', 'stopIds', 'generated'])('an id that the model does not have is refused before it comes in: %s', (where) => {
  const engine = testEngine(wasm());
  for (const id of [tiny.vocab, 50_256, 0xffffffff, -1, Number.NaN]) {
    const o: Partial<GenerateRequest> = where === 'logitBias' ? { sampling: { ...hot, logitBias: [[id, -100]] } } : { [where]: [id] };
    expect(() => engine.add(request('x', prompt(1, 9), o))).toThrow(RangeError);
  }
  expect(engine.busy).toBe(false);
});
