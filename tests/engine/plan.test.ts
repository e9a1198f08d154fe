import { describe, expect, it } from 'vitest';
import { shapes } from '../../cli/random-gguf.ts';
import { jsBytes } from '../../durable-objects/replica/memory.ts';
import { allocWeights, type TensorShape } from '../../engine/anatomy.ts';
import { describePlan, formatsOf, MemoryPlanError, type PlanInput, planMemory, type WeightFormat } from '../../engine/index.ts';
import { PAGE } from '../../engine/layout.ts';
import { countWasm } from '../../kernels/wasm/index.ts';

const MB = 1 << 20;
type Wishes = Pick<PlanInput, 'context' | 'maxTokens' | 'maxSequences'>;

function plan(shape: keyof typeof shapes, memoryMb: number, formatOf: (t: TensorShape) => WeightFormat = () => 'w4', wishes: Wishes = {}) {
  const config = shapes[shape];
  const count = countWasm();
  const { weights } = allocWeights(count, config, formatOf);
  return planMemory({
    ...wishes,
    config,
    formats: formatsOf(weights),
    kv: 'i8',
    weightBytes: count.used,
    memoryBytes: memoryMb * MB,
    jsBytes: jsBytes(config.vocab),
    measure: (build) => {
      const c = countWasm();
      const before = c.used;
      build(c);
      return c.used - before;
    },
  });
}

describe('the memory plan', () => {
  it("puts SmolLM2-135M's shape in w4 with 2,048 tokens of KV into 128 MB", () => {
    const p = plan('smollm2-135m', 128);
    console.log(describePlan(p));
    expect(p.pages * PAGE).toBeGreaterThanOrEqual(2048);
    expect(p.context).toBeGreaterThanOrEqual(2048);
    const { limit, js, weights, scratch, kv } = p.bytes;
    expect(js + weights + scratch + kv).toBeLessThanOrEqual(limit);
  });

  it('takes smaller steps where memory binds, for a longer conversation, unless they are asked for', () => {
    const q4_1 = (t: TensorShape): WeightFormat => (t.kind === 'embed' ? 'w8' : 'q4_1');
    const p = plan('smollm2-135m', 128, q4_1);
    expect(p.context).toBeGreaterThanOrEqual(1024);
    expect(p.context).toBe(p.pages * PAGE); // all pages, and none that the tables took
    expect(p.maxTokens).toBeLessThan(128);
    const { limit, js, weights, scratch, kv } = p.bytes;
    expect(js + weights + scratch + kv).toBeLessThanOrEqual(limit);
    const asked = plan('smollm2-135m', 128, q4_1, { maxTokens: 128, maxSequences: 16 });
    expect(asked).toMatchObject({ maxTokens: 128, maxSequences: 16 });
    expect(asked.context).toBeLessThan(p.context);
    expect(plan('smollm2-135m', 128, q4_1, { context: 256 })).toMatchObject({ context: 256, maxTokens: 128 }); // there is room
  });

  it("refuses Qwen2.5-0.5B's with the arithmetic, and takes it with more memory", () => {
    expect(() => plan('qwen2.5-0.5b', 128)).toThrow(MemoryPlanError);
    expect(() => plan('qwen2.5-0.5b', 128)).toThrow(
      /weights 26\d\.\d MB \+ JavaScript 30\.\d MB \+ scratch .* but the isolate has 128\.0 MB.*MEMORY_MB/,
    );
    expect(plan('qwen2.5-0.5b', 512).context).toBeGreaterThan(2000);
  });
});
