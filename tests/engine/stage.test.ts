/** What a stage takes at once, and which part of a head answers embeddings. */
import { expect, it } from 'vitest';
import { embedsBest, MOST_IN_STAGES, release, STAGE_TOKENS, stageSize } from '../../engine/stage.ts';

it('takes 32 tokens, sequences and rows at once at the most, and of one sequence ten times as many are under way', () => {
  expect([STAGE_TOKENS, MOST_IN_STAGES]).toEqual([32, 320]);
  const step = { maxTokens: 256, maxSequences: 40, maxRows: 33, maxBlocks: 500, context: 4096 };
  expect(stageSize(step)).toEqual({ ...step, maxTokens: 32, maxSequences: 32, maxRows: 32 });
  const small = { ...step, maxTokens: 16, maxSequences: 4, maxRows: 8 };
  expect(stageSize(small)).toEqual(small);
});

it('a part with the same rows of the embedding and the head answers the embedding of the best', () => {
  const of = (embed?: [number, number], head?: [number, number]) =>
    embedsBest({ layers: [0, 1], ...(embed && { embed }), ...(head && { head }) });
  expect([of([0, 96], [0, 96]), of([96, 199], [96, 199])]).toEqual([true, true]);
  expect([of([0, 96], [0, 199]), of([8, 96], [0, 96]), of([0, 96]), of(undefined, [0, 96]), of()]).toEqual([
    false,
    false,
    false,
    false,
    false,
  ]);
});

it('memory is given back of what has all of its own, and of nothing that is a part of another', () => {
  const whole = new Uint8Array(64);
  const part = new Uint8Array(new ArrayBuffer(64), 0, 32);
  release(part);
  expect([part.byteLength, part.buffer.byteLength]).toEqual([32, 64]);
  release(whole);
  expect(whole.byteLength).toBe('transfer' in ArrayBuffer.prototype ? 0 : 64);
});
