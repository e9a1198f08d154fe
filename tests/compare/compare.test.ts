/** Turnstone against what llama.cpp said about the same weights; recorded by `npm run compare`, so that llama.cpp is not needed here. */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { agreement } from '../../bench/compare/check.ts';
import { exportGguf } from '../../bench/compare/export.ts';
import type { Fixture } from '../../bench/compare/fixture.ts';
import { Turnstone } from '../../bench/compare/turnstone.ts';
import { realModel } from '../../bench/real-models.ts';
import { ROOT } from '../../cli/build.ts';
import { familyShapes, randomGguf, shapes } from '../../cli/random-gguf.ts';
import type { KvFormat } from '../../engine/index.ts';

const fixture = (name: string): Fixture => JSON.parse(readFileSync(new URL(`../fixtures/compare-${name}.json`, import.meta.url), 'utf8'));

async function compared(f: Fixture, kv: KvFormat) {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-compare-'));
  const path = join(folder, 'model.gguf');
  try {
    if ('family' in f.model) {
      const { config, keys } = familyShapes[f.model.family];
      await randomGguf(path, config, f.model.type, f.model.seed, keys);
    } else if ('shape' in f.model) await randomGguf(path, shapes[f.model.shape], f.model.type, f.model.seed);
    else if ('folder' in f.model) await exportGguf(join(ROOT, f.model.folder), path);
    else throw new Error('real models have tests of their own');
    return await agreement(await Turnstone.open(path, { kv, context: 256 }), f, { greedy: true });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// Both multiply 4-bit weights by 8-bit activations, rounded a little differently; llama.cpp keeps keys and values in f16.
async function near(name: string, tolerance: number) {
  const a = await compared(fixture(name), 'i8');
  expect(a.positions).toBeGreaterThan(1);
  expect(a.absent).toBe(0);
  expect(a.worst).toBeLessThan(tolerance);
  for (const p of a.partings) expect(p.gap).toBeLessThan(tolerance);
}
test('smollm2: log-probabilities of random 4-bit weights as in llama.cpp, KV i8, within 0.02', () => near('smollm2', 0.02));

// half a gigabyte to make; where the real model is, tests/real compares that one, with its biases
const real = realModel('qwen-coder').missing === undefined;
test.skipIf(real)(`qwen: the same, within 0.05${real ? ' (skipped: the real one is compared by tests/real)' : ''}`, () =>
  near('qwen', 0.05),
);

// f32 throughout; llama.cpp takes gelu from a table of f16
test.each([
  ['granite', 1e-4],
  ['smollm3', 1e-4],
  ['gemma3', 5e-3],
  ['lfm2', 1e-4],
] as const)('%s: the greedy tokens and log-probabilities of llama.cpp, within %f', async (family, tolerance) => {
  const a = await compared(fixture(family), 'f32');
  expect(a.positions).toBeGreaterThan(4);
  expect(a.absent).toBe(0);
  expect(a.worst).toBeLessThan(tolerance);
  for (const p of a.partings) expect(p.gap).toBeLessThan(tolerance);
});

const pebble = fixture('pebble');
const weights = 'folder' in pebble.model ? join(ROOT, pebble.model.folder, 'model.safetensors') : '';

test.skipIf(!existsSync(weights))('the shipped model in f32: the greedy tokens of llama.cpp, 64 for each of 20 prompts', async () => {
  const digest = createHash('sha256').update(readFileSync(weights)).digest('hex');
  const recorded = 'sha256' in pebble.model ? pebble.model.sha256 : '';
  expect(digest, 'the shipped model has changed: run `npm run compare pebble` and commit the fixture').toBe(recorded);
  expect(pebble.prompts.length).toBe(20);
  const a = await compared(pebble, 'f32');
  expect(a.absent).toBe(0);
  // f32 sums in another order
  expect(a.worst).toBeLessThan(1e-3);
  // a parting only where both tokens are as good as equal
  for (const p of a.partings) expect(p.gap).toBeLessThan(1e-3);
});
