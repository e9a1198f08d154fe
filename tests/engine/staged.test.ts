/** A model in stages is the model in one piece: tokens, logits, pages and their names, to the bit. */
import { describe, expect, it } from 'vitest';
import {
  type GenerateRequest,
  GREEDY,
  type ModelConfig,
  PAGE,
  PagesLost,
  type Part,
  type Stage,
  type StagePort,
  type StageSlice,
} from '../../engine/index.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import { aloneDigest, convolving, digests, gemma, model } from './determinism.ts';
import { drain, tiny as narrow, noise, testEngine } from './random-model.ts';

const modules = wasmModules();
const wasm = () => createWasm({ modules, memoryBytes: 24 << 20 });

const biased: ModelConfig = { ...model, family: 'qwen2', qkvBias: true };
/** Head and embedding cut in two, layers in two stages; vocabulary 1000 and layers 3. */
const four: Part[] = [
  { layers: [0, 0], embed: [0, 512], head: [0, 512] },
  { layers: [0, 2] },
  { layers: [2, 3] },
  { layers: [3, 3], embed: [512, 1000], head: [512, 1000] },
];
/** The embedding with the first layers, the head with the last. */
const two: Part[] = [
  { layers: [0, 1], embed: [0, 1000] },
  { layers: [1, 3], head: [0, 1000] },
];

describe('tokens and logits have the bits of one piece', () => {
  it('with layers that differ (gemma3): whatever the batch, chunk, cache, preemption or speculation', async () => {
    const all = await digests(wasm, 20, gemma, { parts: { stages: four, create: wasm } });
    expect(Object.keys(all)).toHaveLength(9);
    const one = await aloneDigest(wasm, 20, gemma);
    for (const [way, digest] of Object.entries(all)) expect(digest, way).toBe(one);
  });

  it.each([
    ['with biases and balanced keys (qwen2)', biased, four],
    ['llama, tied', model, four],
    ['with layers that convolve (lfm2)', convolving, four],
    ['llama, untied', { ...model, tied: false }, two],
  ] as const)('%s', async (_, config, stages) => {
    expect(await aloneDigest(wasm, 8, config, { parts: { stages, create: wasm } })).toBe(await aloneDigest(wasm, 8, config));
  });
});

/** Wide enough that its head can be cut. */
const tiny: ModelConfig = { ...narrow, vocab: 399 };
const ids = (seed: number, n: number): number[] => {
  const next = noise(seed);
  return Array.from({ length: n }, () => Math.floor(((next() + 1) / 2) * tiny.vocab));
};
const request = (id: string, prompt: number[], maxTokens = 24): GenerateRequest => ({
  ...{ id, prompt, maxTokens, stopIds: [], salt: 't' },
  sampling: { ...GREEDY, temperature: 0.9, seed: [5, 6] },
});

const small: Part[] = [
  { layers: [0, 1], embed: [0, 256], head: [0, 256] },
  { layers: [1, 2], embed: [256, 399], head: [256, 399] },
];

const mixed: ModelConfig = { ...tiny, layers: 4, layerKinds: ['full', 'conv', 'conv', 'full'], convTaps: 3 };
const halves: Part[] = [
  { layers: [0, 2], embed: [0, 256], head: [0, 256] },
  { layers: [2, 4], embed: [256, 399], head: [256, 399] },
];

describe('pages', () => {
  // the second has layers of both kinds in one stage, which a page does not hold next to each other
  it.each([
    ['two layers that attend', tiny, small],
    ['four layers, two of which convolve', mixed, halves],
  ] as const)('have the names and the bytes of one piece, and go from one to the other: %s', async (_, config, stages) => {
    const one = testEngine(wasm(), { config });
    const staged = testEngine(wasm(), { config, parts: { stages, create: wasm } });
    for (const e of [one, staged]) e.add(request('a', ids(1, 70)));
    const tokens = await drain(one);
    expect(await drain(staged)).toEqual(tokens);
    const names = one.names.chain(ids(1, 70), 't');
    expect(staged.names.chain(ids(1, 70), 't')).toEqual(names);
    expect(staged.kv.pageBytes).toBe(one.kv.pageBytes);
    const fresh = testEngine(wasm(), { config, parts: { stages, create: wasm } });
    const back = testEngine(wasm(), { config });
    for (const name of names) {
      const page = await one.exportPage(name);
      expect(page?.length).toBe(one.kv.pageBytes);
      expect(await staged.exportPage(name)).toEqual(page);
      expect(fresh.importPage(name, page as Uint8Array)).toBe(true);
      expect(back.importPage(name, (await fresh.exportPage(name)) as Uint8Array)).toBe(true);
    }
    expect(await staged.exportPage('other')).toBeUndefined();
    for (const e of [fresh, back]) {
      e.add(request('a', ids(1, 70)));
      const events = await e.step();
      expect(events[0].cachedTokens).toBe(4 * PAGE);
      expect(await drain(e, new Map([['a', events[0].tokens.map((t) => t.id)]]))).toEqual(tokens);
    }
  });
});

/** A stage that can be ended: what it held is gone, and calls fail until it is open again. */
class Mortal implements StagePort {
  readonly part: Part;
  calls = 0;
  opened = 0;
  /** Ends it at that call. */
  dieAt = Number.POSITIVE_INFINITY;
  private alive = false;
  private readonly stage: Stage;

  constructor(stage: Stage) {
    this.stage = stage;
    this.part = stage.part;
  }
  async open() {
    this.opened++;
    if (!this.alive) for (let p = 0; p < 256; p++) await this.stage.writePage(p, new Uint8Array(this.stage.pageBytes).fill(0x55), -1);
    this.alive = true;
  }
  private async live<T>(work: () => Promise<T>): Promise<T> {
    if (++this.calls === this.dieAt) this.alive = false;
    if (!this.alive) throw new PagesLost('it ended');
    return work();
  }
  embed: StagePort['embed'] = (a) => this.live(() => this.stage.embed(a));
  through: StagePort['through'] = (...a) => this.live(() => this.stage.through(...a));
  head: StagePort['head'] = (...a) => this.live(() => this.stage.head(...a));
  readPage: StagePort['readPage'] = (...a) => this.live(() => this.stage.readPage(...a));
  writePage: StagePort['writePage'] = (...a) => this.live(() => this.stage.writePage(...a));
}

describe('a stage that ends', () => {
  const mortals = () => {
    const made: Mortal[] = [];
    const port = (stage: Stage) => {
      made.push(new Mortal(stage));
      return made.at(-1) as Mortal;
    };
    return { made, engine: testEngine(wasm(), { config: tiny, parts: { stages: small, create: wasm, port } }) };
  };
  const requests = [request('a', ids(1, 70)), request('b', ids(2, 33)), request('c', ids(3, 5))];

  it('takes what its pages held with it: all sequences go on with the same tokens', async () => {
    const one = testEngine(wasm(), { config: tiny });
    for (const r of requests) one.add(r);
    const tokens = await drain(one);
    for (const dieAt of [2, 3, 4, 7, 20, 41]) {
      const { made, engine } = mortals();
      made[dieAt % 2].dieAt = dieAt;
      for (const r of requests) engine.add(r);
      expect(await drain(engine), `at call ${dieAt}`).toEqual(tokens);
      expect(made.map((m) => m.opened)).toEqual([2, 2]);
      expect(engine.stats().pages.referenced).toBe(0);
      // what was cached before is not taken for what is there now
      engine.add(request('again', ids(1, 70)));
      expect((await drain(engine)).get('again')).toEqual(tokens.get('a'));
    }
  });

  it('between two requests leaves no page that has a name and nothing in it', async () => {
    const { made, engine } = mortals();
    engine.add(requests[0]);
    const tokens = await drain(engine);
    made[1].dieAt = made[1].calls + 1;
    engine.add(requests[0]);
    expect(await drain(engine)).toEqual(tokens);
    const [name] = engine.names.chain(requests[0].prompt, 't');
    made[1].dieAt = made[1].calls + 1;
    expect(await engine.exportPage(name)).toBeUndefined();
    engine.add(requests[0]);
    expect(await drain(engine)).toEqual(tokens);
  });

  it('and never comes back: the step says so, the engine is empty afterwards and serves again when it is there', async () => {
    const { made, engine } = mortals();
    const { open } = made[0];
    made[0].open = () => Promise.reject(new PagesLost('stage 1 does not answer'));
    engine.add(requests[0]);
    await expect(drain(engine)).rejects.toThrow('stage 1 does not answer');
    engine.reset();
    expect(engine.stats().pages.referenced).toBe(0);
    made[0].open = open;
    engine.add(requests[0]);
    expect((await drain(engine)).get('a')).toHaveLength(24);
  });
});

/** A stage whose calls take a while; `fault` fails one. */
class Slow implements StagePort {
  static busy = 0;
  static together = 0;
  /** Calls for logits: whole rows, and the best of each. */
  static heads = { whole: 0, best: 0 };
  /** Whose rows of the embedding were asked for. */
  static asked = new Set<number>();
  readonly part: Part;
  private readonly stage: Stage;
  private readonly fault: (slices: readonly StageSlice[]) => boolean;

  constructor(stage: Stage, fault: Slow['fault'] = () => false) {
    this.stage = stage;
    this.part = stage.part;
    this.fault = fault;
  }
  open = async () => {};
  embed: StagePort['embed'] = (ids) => {
    const [from] = this.part.embed as [number, number];
    for (const id of ids) Slow.asked.add(from + id);
    return this.stage.embed(ids);
  };
  head: StagePort['head'] = async (x, best) => {
    Slow.heads[best ? 'best' : 'whole']++;
    const answer = await this.stage.head(x, best);
    const [R, [from, to]] = [x.byteLength / (4 * tiny.hidden), this.part.head as [number, number]];
    const { k } = best ?? { k: 0 };
    const sums = k > 1 ? Math.ceil((to - from) / 256) : 0;
    expect(answer.byteLength, 'what travels').toBe(R * (best ? 8 * (k + 1 + sums) + 4 * tiny.hidden : 4 * (to - from)));
    return answer;
  };
  readPage: StagePort['readPage'] = (...a) => this.stage.readPage(...a);
  writePage: StagePort['writePage'] = (...a) => this.stage.writePage(...a);
  through: StagePort['through'] = async (slices, x, copies) => {
    Slow.together = Math.max(Slow.together, ++Slow.busy);
    try {
      for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
      if (this.fault(slices)) throw new Error('this slice cannot be computed');
      return await this.stage.through(slices, x, copies);
    } finally {
      Slow.busy--;
    }
  };
}

describe('several steps are under way', () => {
  const eight = Array.from({ length: 8 }, (_, i) => request(`r${i}`, ids(20 + i, 5 + i), 12));
  const slow = (fault?: (slices: readonly StageSlice[]) => boolean) => {
    Slow.together = 0;
    return testEngine(wasm(), { config: tiny, parts: { stages: small, create: wasm, port: (stage) => new Slow(stage, fault) } });
  };
  const alone = async (requests: readonly GenerateRequest[]) => {
    const engine = testEngine(wasm(), { config: tiny });
    for (const r of requests) engine.add(r);
    return drain(engine);
  };

  /** Tokens with what is said of them. */
  const told = async (engine: ReturnType<typeof testEngine>) => {
    const all = new Map<string, object[]>();
    while (engine.busy) {
      for (const e of await engine.step()) {
        if (e.error) throw e.error;
        all.set(e.request, [...(all.get(e.request) ?? []), ...e.tokens]);
      }
    }
    return all;
  };

  it('groups of decoding sequences alternate, so that both stages compute at once, with the same tokens', async () => {
    const engine = slow();
    for (const r of eight) engine.add(r);
    const together: number[] = [];
    const tokens = new Map<string, number[]>();
    while (engine.busy) {
      for (const e of await engine.step()) tokens.set(e.request, [...(tokens.get(e.request) ?? []), ...e.tokens.map((t) => t.id)]);
      together.push(engine.lastStep.sequences);
    }
    expect(tokens).toEqual(await alone(eight));
    expect(Slow.together).toBe(2);
    expect(together.filter((n) => n === 4).length, 'steps of half the sequences').toBeGreaterThan(16);
  });

  it.each([
    ['greedy', { temperature: 0 }, 'best'],
    ['of the best 5', { topK: 5 }, 'best'],
    ['of the best 64, nucleus and least probability', { topK: 64, topP: 0.95, minP: 0.01 }, 'best'],
    ['greedy, with log-probabilities', { temperature: 0, logprobs: 3 }, 'best'],
    ['of the best 5, with log-probabilities', { temperature: 1, topK: 5, logprobs: 3 }, 'best'],
    ['of the best 5, with log-probabilities of another temperature', { topK: 5, logprobs: 3 }, 'whole'],
    ['greedy, with a bias', { temperature: 0, logitBias: [[7, 3]] as [number, number][] }, 'whole'],
    ['of all, where they are among the best', { temperature: 0.2 }, 'best'],
    ['of all, with log-probabilities', { temperature: 1, logprobs: 5 }, 'both'],
    ['of a nucleus that reaches beyond the best', { topP: 0.9 }, 'both'],
    ['of those above a least probability', { minP: 0.02 }, 'both'],
  ] as const)('tokens drawn %s: the same, and no more of the logits travels than decides them', async (_, sampling, kind) => {
    const requests = eight.map((r) => ({ ...r, sampling: { ...r.sampling, ...sampling } }));
    const engine = slow();
    Slow.heads = { whole: 0, best: 0 };
    for (const r of requests) engine.add(r);
    const one = testEngine(wasm(), { config: tiny });
    for (const r of requests) one.add(r);
    const said = await told(one);
    expect(await told(engine)).toEqual(said);
    if ('logprobs' in sampling) expect(JSON.stringify([...said])).toContain('"logprob":-');
    const { whole, best } = Slow.heads;
    expect([best > 0, whole > 0]).toEqual([kind !== 'whole', kind !== 'best']);
  });

  it('the embedding of the best tokens comes with them: nobody is asked for what was drawn greedily', async () => {
    const engine = slow();
    Slow.asked.clear();
    const greedy = eight.map((r) => ({ ...r, sampling: GREEDY }));
    for (const r of greedy) engine.add(r);
    const tokens = await drain(engine);
    expect(tokens).toEqual(await alone(greedy));
    const prompts = new Set(eight.flatMap((r) => r.prompt));
    expect([...tokens.values()].flat().filter((id) => !prompts.has(id)).length, 'tokens that no prompt has').toBeGreaterThan(20);
    expect(Slow.asked).toEqual(prompts);
  });

  it('who arrives while a step is under way does not wait for its end, with the same tokens', async () => {
    const engine = slow();
    const [first, second] = eight;
    engine.add(first);
    engine.begins(64); // nothing is waited for yet: the next step() begins
    expect(engine.decodes).toBe(false);
    const step = engine.step();
    engine.add(second);
    engine.begins(64);
    const tokens = new Map((await step).map((e) => [e.request, e.tokens.map((t) => t.id)]));
    expect(Slow.together, 'both are under way').toBe(2);
    expect(engine.decodes).toBe(true);
    for (const [id, rest] of await drain(engine)) tokens.set(id, [...(tokens.get(id) ?? []), ...rest]);
    expect(tokens).toEqual(await alone([first, second]));
  });

  it('chunks of one prompt follow each other, with the same tokens', async () => {
    const engine = slow();
    engine.add(request('long', ids(40, 300), 3));
    expect(await drain(engine)).toEqual(await alone([request('long', ids(40, 300), 3)]));
    expect(Slow.together).toBe(2);
  });

  it('a request that is taken out keeps its pages until its steps have ended, then they are free', async () => {
    const engine = slow();
    const long = request('long', ids(41, 300), 3);
    for (const r of [long, ...eight]) engine.add(r);
    await engine.step();
    const held = engine.stats().pages.referenced;
    engine.abort('long');
    expect(engine.stats().pages.referenced, 'its steps are under way').toBe(held);
    expect(engine.computed('long')).toBeUndefined();
    const tokens = await drain(engine);
    expect(engine.stats().pages.referenced).toBe(0);
    expect(tokens).toEqual(await alone(eight));
  });

  it('what fails for one sequence is its alone, and the steps behind it are computed again', async () => {
    const engine = slow((slices) => slices.some((s) => s.start < 100 && s.start + s.count > 90));
    const long = request('long', ids(42, 300), 3);
    for (const r of [long, ...eight]) engine.add(r);
    const tokens = new Map<string, number[]>();
    let fault: unknown;
    while (engine.busy) {
      for (const e of await engine.step()) {
        if (e.error) fault = e.error;
        else tokens.set(e.request, [...(tokens.get(e.request) ?? []), ...e.tokens.map((t) => t.id)]);
      }
    }
    expect(String(fault)).toContain('this slice cannot be computed');
    expect(tokens).toEqual(await alone(eight));
    expect(engine.stats().pages.referenced).toBe(0);
  });
});

describe('what is no cut is refused', () => {
  const stages = (parts: Part[]) => testEngine(createReference(), { parts: { stages: parts, create: () => createReference() } });
  it.each([
    [[{ layers: [0, 1], embed: [0, 199], head: [0, 199] }], /layers of the stages end at 1, the model's at 2/],
    [
      [
        { layers: [0, 2], embed: [0, 96], head: [0, 96] },
        { layers: [2, 2], embed: [104, 199], head: [104, 199] },
      ],
      /rows of the embedding of the stages go on at 104, must at 96/,
    ],
    [[{ layers: [0, 2], embed: [0, 199], head: [0, 96] }], /a tied embedding and head are the same rows/],
    [[{ layers: [0, 2], embed: [0, 100], head: [0, 100] }], /rows of the embedding \[0, 100\) are not whole groups of 8/],
    [[{ layers: [0, 3], embed: [0, 199], head: [0, 199] }], /layers \[0, 3\) are not within \[0, 2\)/],
    [
      [
        { layers: [0, 2], embed: [0, 104], head: [0, 104] },
        { layers: [2, 2], embed: [104, 199], head: [104, 199] },
      ],
      /a head is cut at row 104, must be at a multiple of 256/,
    ],
  ] as [Part[], RegExp][])('%j', (parts, why) => {
    expect(() => stages(parts)).toThrow(why);
  });
});
