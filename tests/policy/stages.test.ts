import { describe, expect, test } from 'vitest';
import { shapes } from '../../cli/random-gguf.ts';
import { planStages, type StagesWish } from '../../cli/stages.ts';
import { allocPart, type TensorShape } from '../../engine/anatomy.ts';
import { SUM_BLOCK, type WeightFormat } from '../../engine/backend.ts';
import type { ModelConfig } from '../../engine/config.ts';
import { allocBest, allocLogits } from '../../engine/logits.ts';
import { formatsOf } from '../../engine/model.ts';
import { stepSize } from '../../engine/plan.ts';
import { allocPools, allocRunner } from '../../engine/runner.ts';
import { stageSize } from '../../engine/stage.ts';
import { countWasm } from '../../kernels/wasm/index.ts';
import { CutsError, sum } from '../../policy/cuts.ts';
import { isolatesOf } from '../../policy/stages.ts';

const MB = 1 << 20;
const gemma3: ModelConfig = {
  ...{ family: 'gemma3', vocab: 262144, hidden: 640, layers: 18, heads: 4, kvHeads: 1, headDim: 256, ffn: 2048, context: 32768 },
  ...{
    normEps: 1e-6,
    ropeTheta: 1e6,
    slidingTheta: 1e4,
    window: 512,
    tied: true,
    qkvBias: false,
    qkNorm: true,
    postNorms: true,
    activation: 'gelu',
  },
  layerKinds: Array.from({ length: 18 }, (_, l) => (l % 6 === 5 ? 'full' : 'sliding')),
};

/** As Q4_K_M files of small models are: what is no multiple of 256 stays in blocks of 32, the embedding has 8 bits. */
const mixed = (t: TensorShape): WeightFormat => (t.layer < 0 ? 'w8' : 'q5_0');
const wish: StagesWish = { memoryMb: 128, kv: 'i8' };

/** What an isolate of the plan allocates, counted where it would be allocated. */
function allocated(c: ModelConfig, formatOf: (t: TensorShape) => WeightFormat, plan: ReturnType<typeof planStages>, i: number): number {
  const stage = plan.stages[i];
  const be = countWasm();
  const { weights } = allocPart(be, c, stage, formatOf);
  const size = {
    ...stepSize(c, wish, plan.context),
    maxTokens: plan.maxTokens,
    maxSequences: plan.maxSequences,
    windowPages: plan.windowPages,
  };
  allocRunner(be, c, formatsOf(weights), stageSize(size), stage.head ? stage.head[1] - stage.head[0] : 0);
  if (stage.head) allocBest(be, stageSize(size).maxRows, stage.head[1] - stage.head[0]);
  if (stage.replica) {
    allocLogits(be, size.maxRows, c.vocab);
    be.alloc(size.maxRows * c.vocab * 4, 'logits');
  }
  allocPools(be, c, 'i8', plan.pages, plan, stage.layers);
  return be.used;
}

describe.each([
  ['Qwen2.5-0.5B', shapes['qwen2.5-0.5b'], mixed, 4],
  ['Qwen3-0.6B in Q4_0', shapes['qwen3-0.6b'], (): WeightFormat => 'w4', 5],
  ['Gemma-3-270M in Q4_0', gemma3, (): WeightFormat => 'w4', 2],
] as const)('%s in isolates of 128 MB', (_, config, formatOf, isolates) => {
  const plan = planStages(config, formatOf, wish);

  test(`is cut into ${isolates}, with 2,048 tokens of context at least`, () => {
    expect(isolatesOf(plan)).toBe(isolates);
    expect(plan.context).toBeGreaterThanOrEqual(2048);
    expect(plan.pages * 16).toBeGreaterThanOrEqual(plan.context);
    for (const { head = [0] } of plan.stages) expect(head[0] % SUM_BLOCK, 'the sum over the vocabulary is made of whole blocks').toBe(0);
  });

  test('layers that slide keep their part of few pages, where there are some', () => {
    if (config !== gemma3) expect(plan.windowPages).toBeUndefined();
    else expect(plan.windowPages).toBeLessThan(plan.pages / 4);
  });

  test('what is planned for an isolate is what it allocates, and no isolate has more than 128 MB', () => {
    plan.stages.forEach((s, i) => {
      const { js, weights, scratch, kv } = s.bytes;
      expect(Math.abs(allocated(config, formatOf, plan, i) - (weights + scratch + kv))).toBeLessThan(4096); // alignment
      expect(sum(s.bytes)).toBeLessThanOrEqual(128 * MB);
      expect(js).toBeGreaterThanOrEqual(16 * MB);
    });
  });
});

test('STAGES and CONTEXT are kept to, and what they make impossible is refused', () => {
  const config = shapes['qwen2.5-0.5b'];
  expect(isolatesOf(planStages(config, mixed, { ...wish, stages: 7 }))).toBe(7);
  const long = planStages(config, mixed, { ...wish, context: 32768 });
  expect(long.context).toBe(32768);
  expect(isolatesOf(long)).toBeGreaterThan(5);
  expect(() => planStages(config, mixed, { ...wish, stages: 3 })).toThrow(CutsError);
  expect(() => planStages(config, mixed, { ...wish, stages: 3 })).toThrow(/STAGES=3 of 128\.0 MB: weights \d+\.\d MB \+ KV of 2048 tokens/);
  expect(() => planStages(config, mixed, { ...wish, memoryMb: 33 })).toThrow(/replica's isolate alone|layer \d+ alone/);
});
