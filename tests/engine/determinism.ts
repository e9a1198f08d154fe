/**
 * The promise of exact-1 as one digest: a request's tokens and logits' bits, however it was served. Runs wherever a
 * backend runs (Node, workerd), so it imports no test framework.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import {
  type Backend,
  type Engine,
  type GenerateRequest,
  GREEDY,
  type KvPool,
  type ModelConfig,
  type StepEvent,
} from '../../engine/index.ts';
import { noise, type TestEngineOptions, testEngine, tiny } from './random-model.ts';

/** Big enough that pages, chunks and groups matter, small enough for a test. */
export const model = { ...tiny, vocab: 1000, hidden: 128, heads: 6, kvHeads: 2, headDim: 32, ffn: 256, layers: 3 };
/** Layers that differ: a window on two of three, a rotation of their own, norms behind branches, scales, gelu. */
export const gemma: ModelConfig = {
  ...{ ...model, family: 'gemma3', qkNorm: true, activation: 'gelu', embedScale: Math.fround(Math.sqrt(model.hidden)), postNorms: true },
  ...{ attentionScale: 0.2, layerKinds: ['sliding', 'full', 'sliding'], window: 90, slidingTheta: 1000 },
};
/** Layers that convolve, two of three: what they keep of each token is in its page. */
export const convolving: ModelConfig = { ...model, family: 'lfm2', qkNorm: true, layerKinds: ['conv', 'full', 'conv'], convTaps: 3 };
/** Keys that have a bias, which int8 pages hold balanced. */
export const biased: ModelConfig = { ...model, family: 'qwen2', qkvBias: true };
const sizes = { config: model, format: 'w4' as const, kv: 'i8' as const, maxTokens: 512, maxSequences: 8 };

const ids = (seed: number, n: number): number[] => {
  const next = noise(seed);
  return Array.from({ length: n }, () => Math.floor(((next() + 1) / 2) * model.vocab));
};

/** Tokens of the long prompt: more than the largest chunk; of models that differ from `model`, more than their window and several chunks of 64. */
const longOf = (config: ModelConfig): number => (config === model ? 700 : 330);

/** The two requests that are held: greedy and drawn, 37 tokens of prompt and many, the best 20 logits of every token reported. */
export const held = (generate = 200, config: ModelConfig = model): GenerateRequest[] =>
  [37, longOf(config)].map((n, i) => ({
    id: `held-${n}`,
    prompt: ids(n, n),
    maxTokens: generate,
    stopIds: [],
    salt: 't',
    sampling: { ...GREEDY, temperature: i === 0 ? 0 : 0.8, seed: [n, 3], logprobs: 20 },
  }));

type Bits = Map<string, number[]>;

const record = (bits: Bits, events: readonly StepEvent[]): void => {
  for (const e of events) {
    const list = bits.get(e.request) ?? [];
    for (const t of e.tokens) list.push(t.id, t.logprob as number, ...(t.top ?? []).flatMap((x) => [x.id, x.logprob]));
    bits.set(e.request, list);
  }
};

/** One digest over all that was recorded of the held requests: ids and log-probabilities (f32 logits and the f32 softmax sum) to the last bit. */
function digest(bits: Bits): string {
  const all = [...bits].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([id, list]) => (id.startsWith('held-') ? list : []));
  return Array.from(sha256(new Uint8Array(Float64Array.from(all).buffer)), (b) => b.toString(16).padStart(2, '0')).join('');
}

async function run(engine: Engine, budget: number, meanwhile: (step: number) => void = () => {}): Promise<Bits> {
  const bits: Bits = new Map();
  for (let step = 0; engine.busy && step < 10_000; step++) {
    meanwhile(step);
    record(bits, await engine.step(budget));
  }
  return bits;
}

/** Every way of serving the held requests, each on a fresh backend, with the digest of what came out. */
export async function digests(
  create: () => Backend,
  generate = 200,
  config: ModelConfig = model,
  options: Partial<TestEngineOptions> = {},
): Promise<Record<string, string>> {
  const out: Record<string, string> = {};
  const fresh = (o: object = {}) => testEngine(create(), { ...sizes, config, ...options, ...o });
  const serve = (e: Engine) => {
    for (const r of held(generate, config)) e.add(r);
  };

  out.alone = await aloneDigest(create, generate, config, options);

  for (const chunk of [16, 64, 512]) {
    const e = fresh();
    serve(e);
    out[`chunks of ${chunk}`] = digest(await run(e, chunk));
  }

  const crowd = fresh();
  serve(crowd);
  out['strangers joining and leaving'] = digest(
    await run(crowd, 64, (step) => {
      if (step % 7 === 3 && step < 400) {
        const sampling = { ...GREEDY, temperature: 1, seed: [step, 9] as const };
        crowd.add({ id: `s${step}`, prompt: ids(step, 5 + (step % 90)), maxTokens: 3 + (step % 40), stopIds: [], salt: 's', sampling });
      }
      if (step % 11 === 5) crowd.abort(`s${step - 16}`);
    }),
  );

  const warm = fresh();
  serve(warm);
  await run(warm, 512);
  serve(warm);
  out['after a prefix hit'] = digest(await run(warm, 512));
  if (warm.stats().prefix.hit < longOf(config)) throw new Error('the second pass did not hit the prefix cache');

  const [short, long] = [37, longOf(config)].map((n) => Math.ceil((n + generate) / 16)); // pages at their ends
  const tight = fresh({ pages: long + short });
  serve(tight);
  tight.add({ id: 'third', prompt: ids(9, 300), maxTokens: 100, stopIds: [], salt: 's', sampling: GREEDY });
  out['after eviction and recompute'] = digest(
    await run(tight, 64, (step) => {
      if (step === 40) tight.add({ id: 'late', prompt: ids(10, 200), maxTokens: 50, stopIds: [], salt: 's', sampling: GREEDY });
    }),
  );

  const small = fresh({ pages: long + 3 });
  serve(small);
  out['after preemption'] = digest(await run(small, 512));
  if (small.stats().preemptions === 0) throw new Error('so few pages should have forced a preemption');

  const eager = fresh({ rowCost: 0.01 });
  serve(eager);
  out['with speculation'] = digest(await run(eager, 512));
  return out;
}

/** Each of the held requests alone on a fresh engine. */
export async function aloneDigest(
  create: () => Backend,
  generate: number,
  config: ModelConfig,
  o: Partial<TestEngineOptions> = {},
): Promise<string> {
  const alone: Bits = new Map();
  for (const r of held(generate, config)) {
    const e = testEngine(create(), { ...sizes, config, ...o });
    e.add(r);
    for (const [id, b] of await run(e, 512)) alone.set(id, b);
  }
  return digest(alone);
}

/** The short request alone, few tokens: what the reference can do in a test. */
export async function shortDigest(create: () => Backend, config: ModelConfig = model, o: Partial<TestEngineOptions> = {}): Promise<string> {
  const e = testEngine(create(), { ...sizes, config, ...o });
  e.add(held(8)[0]);
  return digest(await run(e, 512));
}

/** The same with two pages of the long prompt's cache exchanged: must give another digest. */
export async function sabotaged(create: () => Backend): Promise<{ right: string; wrong: string }> {
  const results: string[] = [];
  for (const swap of [false, true]) {
    const e = testEngine(create(), sizes);
    for (const r of held(20)) e.add(r);
    await run(e, 512);
    if (swap) {
      const [a, b] = e.names
        .chain(held()[1].prompt, 't')
        .slice(3, 5)
        .map((n) => e.pool.take(n) as number);
      const spare = e.pool.alloc() as number;
      e.backend.copyPages(e.kv as KvPool, Uint32Array.of(a, spare, b, a, spare, b));
      e.pool.releaseAll([a, b, spare]);
    }
    for (const r of held(20)) e.add(r);
    results.push(digest(await run(e, 512)));
  }
  return { right: results[0], wrong: results[1] };
}
