/** How a model that is larger than an isolate is cut: the engine's own allocations are counted, policy/cuts.ts decides. */
import { jsBytes } from '../durable-objects/replica/memory.ts';
import { allocPart, type Part, type TensorShape, tensorList } from '../engine/anatomy.ts';
import { type Allocator, type KvFormat, SUM_BLOCK, type WeightFormat } from '../engine/backend.ts';
import type { ModelConfig } from '../engine/config.ts';
import { pageBytes } from '../engine/layout.ts';
import { allocBest, allocLogits } from '../engine/logits.ts';
import { type Formats, formatsOf } from '../engine/model.ts';
import { enoughPages, stepSize } from '../engine/plan.ts';
import { allocRunner, kvShape, poolShapes } from '../engine/runner.ts';
import { MOST_IN_STAGES, STAGE_TOKENS, stageSize } from '../engine/stage.ts';
import { windowPages } from '../engine/windows.ts';
import { countWasm } from '../kernels/wasm/index.ts';
import { type Costs, planCuts, type Times } from '../policy/cuts.ts';
import type { StagesPlan } from '../policy/stages.ts';

export interface StagesWish {
  memoryMb: number;
  kv: KvFormat;
  /** Isolates; the fewest that do unless given. */
  stages?: number;
  context?: number;
  maxSequences?: number;
  /** Bytes for adapters in each isolate. */
  adapterBytes?: number;
}

/** Plans the stages of a model whose tensors have these formats. Throws CutsError with the arithmetic when they cannot be. */
export function planStages(config: ModelConfig, formatOf: (t: TensorShape) => WeightFormat, o: StagesWish): StagesPlan {
  const { maxTokens, maxSequences } = stepSize(config, { ...o, maxTokens: STAGE_TOKENS }, config.context);
  return planCuts({
    ...{ vocab: config.vocab, group: SUM_BLOCK, limit: o.memoryMb << 20, stages: o.stages, context: config.context, wished: o.context },
    ...{ maxTokens, maxSequences, mostPages: enoughPages },
    windowPages: (context, pages) => windowPages(config, { context, maxTokens: MOST_IN_STAGES }, pages),
    costs: costsOf(config, formatOf, o),
    times: timesOf(config, formatOf),
  });
}

/** What parts of a model take with each context. */
function costsOf(c: ModelConfig, formatOf: (t: TensorShape) => WeightFormat, o: StagesWish): (context: number) => Costs {
  const part = (p: Part, of: ModelConfig) => {
    const memory = countWasm();
    const before = memory.used;
    const { weights } = allocPart(memory, of, p, formatOf);
    return { formats: formatsOf(weights), weights: memory.used - before };
  };
  const layers = memo((from: number, to: number) => part({ layers: [from, to] }, c));
  const headOnly = { ...c, layers: 0 };
  const rows = memo((n: number) => part({ layers: [0, 0], embed: [0, n], head: [0, n] }, headOnly));
  const none = part({ layers: [0, 0] }, headOnly);

  return (context) => {
    const size = {
      ...stepSize(c, o, context),
      adapters: o.adapterBytes,
      windowPages: windowPages(c, { context, maxTokens: MOST_IN_STAGES }, 1),
    };
    const runner = (formats: Formats, vocab: number) => measure((be) => allocRunner(be, c, formats, stageSize(size), vocab));
    const bare = runner(none.formats, 0);
    return {
      layers: memo((from, to) => {
        const range = [from, to] as const;
        const { weights, formats } = layers(from, to);
        return {
          weights,
          scratch: runner(formats, 0) - bare,
          ...{ page: pageBytes(kvShape(c, o.kv, range)), slid: pageBytes(poolShapes(c, o.kv, range).slid) },
        };
      }),
      rows(n) {
        const { weights, formats } = rows(n);
        return { weights, scratch: runner(formats, n) - bare + measure((be) => allocBest(be, stageSize(size).maxRows, n)) };
      },
      stage: { js: jsBytes(0), scratch: countWasm().used + bare },
      replica: {
        js: jsBytes(c.vocab),
        scratch: measure((be) => {
          allocLogits(be, size.maxRows, c.vocab);
          be.alloc(size.maxRows * c.vocab * 4, 'logits');
        }),
      },
    };
  };
}

/** Remembers what was answered to each list of numbers. */
function memo<A extends number[], T>(of: (...args: A) => T): (...args: A) => T {
  const known = new Map<string, T>();
  return (...args) => {
    const key = args.join();
    if (!known.has(key)) known.set(key, of(...args));
    return known.get(key) as T;
  };
}

function measure(build: (be: Allocator) => void): number {
  const count = countWasm();
  const before = count.used;
  build(count);
  return count.used - before;
}

/**
 * 10⁹ products a second of each format, of one token and of 128 together. Only their ratios count; as the kernel cases of `npm run bench` gave
 * them for 2,048 × 1,024 (Intel Xeon, AVX-512, shared; processor time, best of nine, 2026-11-30).
 */
const RATES: Record<WeightFormat, readonly [alone: number, together: number]> = {
  ...{ f32: [3.5, 15], w8: [12, 65], w4: [14, 67], q4_1: [9, 57], q5_0: [12, 65], q5_1: [8, 56], iq4_nl: [13, 67], mxfp4: [7, 12] },
  ...{ q2_k: [20, 43], q3_k: [20, 52], q4_k: [19, 58], q5_k: [16, 57], q6_k: [19, 51], iq4_xs: [22, 70], any_k: [14, 43] },
};
/** Of the tokens that are computed, those that are generated: each is one pass alone and wants logits. */
const GENERATED = 0.2;

/** What each layer and a row of the head takes of a token, of a mix of prompts and answers. */
function timesOf(c: ModelConfig, formatOf: (t: TensorShape) => WeightFormat): Times {
  const layers = new Array<number>(c.layers).fill(0);
  let row = 0;
  for (const t of tensorList(c)) {
    const [N, K] = t.shape;
    if (K === undefined) continue;
    const [alone, together] = RATES[formatOf(t)];
    const generated = (GENERATED * K) / alone;
    if (t.layer >= 0) layers[t.layer] += N * (generated + ((1 - GENERATED) * K) / together);
    else if (t.kind === (c.tied ? 'embed' : 'head')) row = generated;
  }
  return { layers, row };
}
