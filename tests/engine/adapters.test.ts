/** Adapters beside a model: several and none in one ragged batch give each request the bits that it has alone, whatever else comes and goes. */
import { describe, expect, it } from 'vitest';
import {
  adapterBytes,
  type Backend,
  type Engine,
  type GenerateRequest,
  GREEDY,
  type ModelConfig,
  PagesLost,
  type Part,
  Stage,
  type StagePort,
  type StepEvent,
} from '../../engine/index.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import { biased, convolving, gemma, model } from './determinism.ts';
import { noise, randomAdapter, randomPart, type TestEngineOptions, testEngine, tiny } from './random-model.ts';

const modules = wasmModules();
const wasm = () => createWasm({ modules, memoryBytes: 48 << 20 });
const RANK = 5;

/** Room for `count` adapters of a configuration. */
const room = (c: ModelConfig, count: number) => count * adapterBytes(randomAdapter(c, RANK, 1).pieces);

function ids(seed: number, n: number, vocab: number): number[] {
  const next = noise(seed);
  return Array.from({ length: n }, () => Math.floor(((next() + 1) / 2) * vocab));
}

const request = (c: ModelConfig, name: string, adapter?: string, o: Partial<GenerateRequest> = {}): GenerateRequest => ({
  ...{ id: name, prompt: ids(name.length, 50, c.vocab), maxTokens: 12, stopIds: [], salt: 's', adapter },
  sampling: { ...GREEDY, temperature: 0.7, seed: [name.length, 1], logprobs: 5 },
  ...o,
});

type Bits = Map<string, number[]>;
function record(bits: Bits, events: readonly StepEvent[]): void {
  for (const e of events) {
    if (e.error) throw e.error;
    const bitsOf = e.tokens.flatMap((t) => [t.id, t.logprob as number, ...(t.top ?? []).flatMap((x) => [x.id, x.logprob])]);
    bits.set(e.request, [...(bits.get(e.request) ?? []), ...bitsOf]);
  }
}

async function run(engine: Engine, meanwhile: (step: number) => unknown = () => {}, budget = 24): Promise<Bits> {
  const bits: Bits = new Map();
  for (let step = 0; engine.busy; step++) {
    await meanwhile(step);
    record(bits, await engine.step(budget));
  }
  return bits;
}

async function engineWith(be: Backend, c: ModelConfig, adapters: readonly string[], o: TestEngineOptions = {}): Promise<Engine> {
  const engine = testEngine(be, { config: c, adapterBytes: room(c, 3), ...o });
  for (const id of adapters) await load(engine, c, id);
  return engine;
}

function load(engine: Engine, c: ModelConfig, id: string) {
  const { pieces, read } = randomAdapter(c, RANK, id.charCodeAt(0));
  return engine.adapters!.load(id, pieces, read);
}

/** Each alone, one after the other. */
async function alone(create: () => Backend, c: ModelConfig, requests: readonly GenerateRequest[]): Promise<Bits> {
  const out: Bits = new Map();
  const engine = await engineWith(create(), c, [...new Set(requests.flatMap(({ adapter }) => adapter ?? []))]);
  for (const r of requests) {
    engine.add(r);
    for (const [id, bits] of await run(engine)) out.set(id, bits);
  }
  return out;
}

const mixed = (c: ModelConfig) => [
  request(c, 'a1', 'a'),
  request(c, 'bare'),
  request(c, 'b12', 'b'),
  request(c, 'another of a', 'a'),
  request(c, 'bare too'),
];

describe.each([
  ['llama', model],
  ['gemma', gemma],
  ['qwen2', biased],
  ['lfm2', convolving],
] as const)('%s', (_, c) => {
  it('two adapters and the base in one batch have the bits that each has alone', async () => {
    const requests = mixed(c);
    const want = await alone(wasm, c, requests);
    const engine = await engineWith(wasm(), c, ['a', 'b']);
    for (const r of requests) engine.add(r);
    expect(await run(engine)).toEqual(want);
    expect(engine.stats().largestBatch).toBe(requests.length);
  });

  it('an adapter changes what comes, each in its own way', async () => {
    const same = [undefined, 'a', 'b'].map((adapter, i) => request(c, `${i}`, adapter));
    const bits = await alone(wasm, c, same);
    expect(new Set([...bits.values()].map((b) => b.join())).size).toBe(3);
  });
});

it('wasm gives the reference its bits', async () => {
  const requests = [request(tiny, 'x', 'a', { maxTokens: 3 }), request(tiny, 'yy', undefined, { maxTokens: 3 })];
  const [one, other] = await Promise.all(
    [createReference(), wasm()].map(async (be) => {
      const engine = await engineWith(be, tiny, ['a']);
      for (const r of requests) engine.add(r);
      return run(engine);
    }),
  );
  expect(one).toEqual(other);
});

it('loading and dropping others, and its own, changes no bit of an answer that runs', async () => {
  const requests = mixed(model);
  const want = await alone(wasm, model, requests);
  const engine = await engineWith(wasm(), model, ['a', 'b']);
  for (const r of requests) engine.add(r);
  const had = new Set<string>();
  const got = await run(engine, async (step) => {
    if (step % 3 === 0) await load(engine, model, 'c');
    if (step % 3 === 2) engine.dropAdapter('c');
    if (step === 5) engine.dropAdapter('a'); // goes when its last answer has ended
    for (const id of engine.adapters!.ids) had.add(id);
    if (step === 6) expect(engine.adapters!.get('a')).toBeDefined();
  });
  expect(got).toEqual(want);
  expect(had).toEqual(new Set(['a', 'b', 'c']));
  expect(engine.adapters!.get('a')).toBeUndefined();
});

it('another adapter in the place of one that was dropped is computed with its own numbers', async () => {
  const want = await alone(wasm, model, [request(model, 'x', 'b')]);
  const engine = await engineWith(wasm(), model, ['a'], { adapterBytes: room(model, 1) });
  engine.add(request(model, 'first', 'a'));
  await run(engine);
  engine.dropAdapter('a');
  await load(engine, model, 'b');
  engine.add(request(model, 'x', 'b'));
  expect(await run(engine)).toEqual(want);
});

it('no page of one adapter answers another, or the base', async () => {
  const engine = await engineWith(wasm(), model, ['a', 'b']);
  const cached: (number | undefined)[] = [];
  for (const adapter of ['a', 'b', undefined, 'a', undefined]) {
    engine.add(request(model, 'same', adapter));
    while (engine.busy) for (const e of await engine.step()) if (e.cachedTokens !== undefined) cached.push(e.cachedTokens);
  }
  expect(cached.slice(0, 3)).toEqual([0, 0, 0]);
  expect(cached[3]).toBeGreaterThanOrEqual(48);
  expect(cached[4]).toBeGreaterThanOrEqual(48);
});

it('after preemption and with drafts the bits are the same', async () => {
  const requests = mixed(model).map((r) => ({ ...r, maxTokens: 70, sampling: { ...GREEDY, logprobs: 5 } }));
  const want = await alone(wasm, model, requests);
  for (const o of [{ pages: 16 }, { rowCost: 0.01 }]) {
    const engine = await engineWith(wasm(), model, ['a', 'b'], o);
    for (const r of requests) engine.add(r);
    expect(await run(engine)).toEqual(want);
    if (o.pages) expect(engine.stats().preemptions).toBeGreaterThan(0);
    else expect(engine.stats().draft.proposed).toBeGreaterThan(0);
  }
});

describe('in stages', () => {
  const stages: Part[] = [
    { layers: [0, 2], embed: [0, 512], head: [0, 512] },
    { layers: [2, 3], embed: [512, 1000], head: [512, 1000] },
  ];
  const find = async (id: string) => randomAdapter(model, RANK, id.charCodeAt(0));

  it('two adapters and the base in one batch have the bits of one piece; others come and go', async () => {
    const requests = mixed(model);
    const want = await alone(wasm, model, requests);
    const engine = await engineWith(wasm(), model, ['a', 'b'], { parts: { stages, create: wasm, find } });
    for (const r of requests) engine.add(r);
    const got = await run(engine, async (step) => {
      if (step === 3) await load(engine, model, 'c');
      if (step === 5) engine.dropAdapter('c');
    });
    expect(got).toEqual(want);
  });

  it('more than its memory holds at once make room for each other there, too', async () => {
    const requests = ['a', 'b', 'c', 'd', 'a'].map((id, i) => request(model, `${id}${i}`, id, { maxTokens: 3 }));
    const want = await alone(wasm, model, requests.slice(0, 3));
    const engine = await engineWith(wasm(), model, [], { parts: { stages, create: wasm, find }, adapterBytes: room(model, 1) });
    for (const [i, r] of requests.entries()) {
      await load(engine, model, r.adapter as string);
      engine.add(r);
      const bits = await run(engine);
      if (want.has(r.id)) expect(bits.get(r.id)).toEqual(want.get(r.id));
      if (i === 4) expect(bits.get(r.id)?.length).toBeGreaterThan(0);
      engine.dropAdapter(r.adapter as string);
    }
  });

  it('a stage that was lost loads them again', async () => {
    const requests = [request(model, 'x', 'a'), request(model, 'bare')];
    const want = await alone(wasm, model, requests);
    let calls = 0;
    const port = (first: Stage): StagePort => {
      let stage = first;
      const fresh = () => {
        const backend = wasm();
        const weights = randomPart(backend, model, first.part, 'w4');
        const { plan } = engine;
        return new Stage({ backend, config: model, part: first.part, weights, size: plan, kv: plan.kv, pages: plan.pages, find });
      };
      return {
        part: first.part,
        open: async () => {
          if (calls > 6) stage = fresh();
        },
        embed: (ids) => stage.embed(ids),
        through: async (...a) => {
          if (++calls === 6) throw new PagesLost('gone');
          return stage.through(...a);
        },
        head: (...a) => stage.head(...a),
        readPage: (...a) => stage.readPage(...a),
        writePage: (...a) => stage.writePage(...a),
      };
    };
    const engine: Engine = await engineWith(wasm(), model, ['a'], { parts: { stages, create: wasm, find, port } });
    for (const r of requests) engine.add(r);
    expect(await run(engine)).toEqual(want);
    expect(calls).toBeGreaterThan(6);
  });
});

describe('what is no adapter of this model, or has no room, is refused', () => {
  const load = (pieces: ReturnType<typeof randomAdapter>['pieces'], bytes = room(tiny, 1)) =>
    testEngine(wasm(), { adapterBytes: bytes }).adapters!.load(
      'x',
      pieces,
      (i) => new Uint8Array(pieces[i].rank * (pieces[i].N + pieces[i].K) * 4),
    );
  const [piece] = randomAdapter(tiny, RANK, 1).pieces;

  it.each([
    ['another width', { ...piece, K: 128 }, /64 × 128 from row 0 of layers.0.qkv, which is 128 × 64/],
    ['rows beyond the end', { ...piece, row: 96 }, /64 × 64 from row 96 of layers.0.qkv/],
    ['a layer too far', { ...piece, layer: 2 }, /layers.2.qkv, which this model does not have/],
    [
      'a tensor that is no matrix of a layer',
      { ...piece, matrix: 'attnNorm' as 'qkv' },
      /layers.0.attnNorm, which this model does not have/,
    ],
    ['no rank', { ...piece, rank: 0 }, /rank 0 at layers.0.qkv, must be 1 to 1024/],
    ['part of a row', { ...piece, row: 0.5 }, /from row 0.5/],
  ])('%s', async (_, wrong, message) => {
    await expect(load([wrong])).rejects.toThrow(message);
  });

  it('more than the memory for adapters', async () => {
    await expect(load(randomAdapter(tiny, RANK + 1, 1).pieces)).rejects.toThrow(
      /needs 0.\d+ MB: of 0.\d+ MB for adapters 0.00 MB are taken by 0/,
    );
  });

  it('bytes that are not as many as its shape says leave nothing behind', async () => {
    const engine = testEngine(wasm(), { adapterBytes: room(tiny, 1) });
    const { pieces, read } = randomAdapter(tiny, RANK, 1);
    await expect(engine.adapters!.load('x', pieces, (i) => read(i).subarray(i === 3 ? 4 : 0))).rejects.toThrow(/piece 3/);
    expect(engine.adapters!.memory.used).toBe(0);
    expect(() => engine.add(request(tiny, 'r', 'x'))).toThrow('adapter x is not loaded');
  });
});

it('the plan counts their memory, and the kernels take no byte more', () => {
  const bytes = room(model, 2);
  const [without, with2] = [0, bytes].map((adapterBytes) => {
    const be = wasm();
    testEngine(be, { config: model, adapterBytes });
    return be.memory().used;
  });
  expect(with2 - without).toBe(bytes);
});
