/** Log-probabilities of a prompt's own tokens have the bits that decoding the same text gives, however the prompt was computed. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Backend,
  type Engine,
  type GenerateRequest,
  GREEDY,
  PAGE,
  type Part,
  type ScoredToken,
  type StepEvent,
} from '../../engine/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import { testEngine as engineOf, type TestEngineOptions, tiny } from './random-model.ts';

const modules = wasmModules();
const wasm = () => createWasm({ modules, memoryBytes: 24 << 20 });

/** Wide enough that its head can be cut. */
const config = { ...tiny, vocab: 399 };
const testEngine = (be: Backend, o: TestEngineOptions = {}) => engineOf(be, { config, ...o });

const PROMPT = [17, 3, 99, 140, 3, 8, 61];
const BEST = 5;
const request = (id: string, prompt: readonly number[], o: Partial<GenerateRequest> = {}): GenerateRequest => ({
  ...{ id, prompt, maxTokens: 4, stopIds: [], sampling: GREEDY, salt: 't', ...o },
});
/** Drawn far from the best, so that many tokens are none of the row's best 64. */
const wild = { ...GREEDY, temperature: 1, seed: [5, 6] as const, logprobs: BEST, logitBias: [] };

let text: number[];
/** What decoding said of each token after PROMPT. */
let decoded: Pick<ScoredToken, 'id' | 'logprob' | 'top'>[];

async function run(engine: Engine, step = () => engine.step()): Promise<StepEvent[]> {
  const events: StepEvent[] = [];
  for (let n = 0; engine.busy; n++) {
    if (n > 2000) throw new Error('it does not end');
    events.push(...(await step()));
  }
  expect(engine.stats().pages.referenced).toBe(0);
  return events;
}

const of = (events: readonly StepEvent[], id: string) => events.filter((e) => e.request === id);
const scores = (events: readonly StepEvent[], id: string) => of(events, id).flatMap((e) => e.prompt ?? []);
const tokens = (events: readonly StepEvent[], id: string) => of(events, id).flatMap((e) => e.tokens.map((t) => t.id));

beforeAll(async () => {
  const engine = testEngine(wasm());
  engine.add(request('a', PROMPT, { sampling: wild, maxTokens: 90 }));
  const events = await run(engine);
  decoded = events.flatMap((e) => e.tokens.map(({ id, logprob = 0, top = [] }) => ({ id, logprob, top })));
  text = [...PROMPT, ...decoded.map((t) => t.id)];
});

/** Holds what was said of `text` as a prompt to what was said as it was drawn. */
function holds(said: readonly ScoredToken[]): void {
  expect(said.map((t) => t.id)).toEqual(text.slice(1));
  expect(said.slice(PROMPT.length - 1).map(({ id, logprob, top }) => ({ id, logprob, top }))).toEqual(decoded);
}

describe('the bits of decoding', () => {
  it.each([
    ['in one chunk a row at a time', { maxSequences: 4 }, 64],
    ['in chunks of 3 tokens', {}, 3],
    ['f32 pages', { kv: 'f32' }, 64],
  ] as [string, Partial<TestEngineOptions>, number][])('%s', async (name, options, budget) => {
    const kv = name === 'f32 pages';
    const engine = testEngine(wasm(), options);
    engine.add(request('s', text, { promptLogprobs: BEST }));
    const events = await run(engine, () => engine.step(budget));
    const said = scores(events, 's');
    if (!kv) holds(said);
    expect(said.some((t) => t.rank > 64)).toBe(true);
    for (const t of said) {
      const at = t.top.findIndex((x) => x.id === t.id);
      expect(at < 0 ? t.rank > BEST : t.rank === at + 1 && t.top[at].logprob === t.logprob).toBe(true);
    }
    const plain = testEngine(wasm(), options);
    plain.add(request('s', text));
    expect(tokens(events, 's')).toEqual(tokens(await run(plain), 's'));
  });

  it('beside others that draw, with penalties and biases, which do not touch them', async () => {
    const engine = testEngine(wasm(), { maxTokens: 64 });
    const sampling = { ...wild, temperature: 0.3, repetition: 1.4, logitBias: [[3, 8]] as [number, number][] };
    engine.add(request('b', [9, 9, 4], { sampling, maxTokens: 60 }));
    await engine.step();
    engine.add(request('s', text, { sampling, promptLogprobs: BEST }));
    engine.add(request('u', text, { promptLogprobs: BEST, salt: 'other' }));
    const events = await run(engine);
    holds(scores(events, 's'));
    holds(scores(events, 'u'));
    expect(tokens(events, 'b')).toHaveLength(59);
  });

  it('where its pages are cached, which are computed again, and others find them', async () => {
    const engine = testEngine(wasm());
    engine.add(request('x', text));
    await run(engine);
    engine.add(request('s', text, { promptLogprobs: BEST }));
    const events = await run(engine);
    holds(scores(events, 's'));
    expect(of(events, 's').find((e) => e.cachedTokens !== undefined)?.cachedTokens).toBe(0);
    engine.add(request('y', text));
    expect((await run(engine)).find((e) => e.cachedTokens !== undefined)?.cachedTokens).toBeGreaterThanOrEqual(PAGE);
  });

  it('when it had to give its pages back amid its prompt, and none is told twice', async () => {
    const engine = testEngine(wasm(), { pages: 8, maxSequences: 4 });
    engine.add(request('old', [7, 7, 1], { sampling: wild, maxTokens: 60, owner: 'one' }));
    await engine.step();
    engine.add(request('s', text, { promptLogprobs: BEST, owner: 'two' }));
    let told = 0;
    let toldBefore = 0;
    const events = await run(engine, async () => {
      const step = await engine.step(20);
      told += scores(step, 's').length;
      if (engine.stats().preemptions > 0) toldBefore ||= told;
      return step;
    });
    expect(toldBefore).toBeGreaterThan(PAGE);
    expect(toldBefore).toBeLessThan(text.length - 1);
    holds(scores(events, 's'));
  });

  it('in stages, several steps under way', async () => {
    const stages: Part[] = [
      { layers: [0, 1], embed: [0, 256], head: [0, 256] },
      { layers: [1, 2], embed: [256, 399], head: [256, 399] },
    ];
    const engine = testEngine(wasm(), { parts: { stages, create: wasm } });
    engine.add(request('s', text, { promptLogprobs: BEST }));
    engine.add(request('b', [9, 9, 4], { maxTokens: 30 }));
    const events = await run(engine);
    holds(scores(events, 's'));
    expect(tokens(events, 'b')).toHaveLength(30);
  });
});

it('nothing need be generated: the prompt alone is scored', async () => {
  const engine = testEngine(wasm());
  engine.add(request('s', text, { promptLogprobs: 0, maxTokens: 0 }));
  const events = await run(engine);
  expect(
    scores(events, 's')
      .map(({ logprob }) => logprob)
      .slice(PROMPT.length - 1),
  ).toEqual(decoded.map(({ logprob }) => logprob));
  expect(events.at(-1)).toMatchObject({ tokens: [], finish: 'length' });
  expect(() => engine.add(request('n', text, { maxTokens: 0 }))).toThrow(/nothing to generate/);
  expect(() => engine.add(request('g', text, { promptLogprobs: 0, generated: [1] }))).toThrow(RangeError);
});

it('a prompt of one token has none before it', async () => {
  const engine = testEngine(wasm());
  engine.add(request('s', [5], { promptLogprobs: 2, maxTokens: 2 }));
  const events = await run(engine);
  expect(scores(events, 's')).toEqual([]);
  expect(tokens(events, 's')).toHaveLength(2);
});
