import { describe, expect, it } from 'vitest';
import { shapes } from '../../cli/random-gguf.ts';
import { jsBytes } from '../../durable-objects/replica/memory.ts';
import { allocWeights } from '../../engine/anatomy.ts';
import { describePlan, formatsOf, MemoryPlanError, planMemory } from '../../engine/index.ts';
import { PAGE } from '../../engine/layout.ts';
import { countWasm } from '../../kernels/wasm/index.ts';

const MB = 1 << 20;

function plan(shape: keyof typeof shapes, memoryMb: number) {
  const config = shapes[shape];
  const count = countWasm();
  const { weights } = allocWeights(count, config, () => 'w4');
  return planMemory({
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

  it("refuses Qwen2.5-0.5B's with the arithmetic, and takes it with more memory", () => {
    expect(() => plan('qwen2.5-0.5b', 128)).toThrow(MemoryPlanError);
    expect(() => plan('qwen2.5-0.5b', 128)).toThrow(
      /weights 26\d\.\d MB \+ JavaScript 36\.\d MB \+ scratch .* but the isolate has 128\.0 MB.*MEMORY_MB/,
    );
    expect(plan('qwen2.5-0.5b', 512).context).toBeGreaterThan(2000);
  });
});
