import { expect, it } from 'vitest';
import { HERE, seenByServer } from '../../web/src/device/seen.ts';
import type { Turn } from '../../web/src/turns.ts';

let id = 0;
const ask = (text: string): Turn => ({ id: String(++id), parent: null, role: 'user', text });
const answer = (text: string, route?: string): Turn => ({
  ...{ id: String(++id), parent: null, role: 'assistant', text, calls: [], status: 'done' },
  stats: { pieces: 1, route },
});
const texts = (turns: Turn[]) => seenByServer(turns).map((turn) => turn.text);

it('is the chat up to the last answer of the server', () => {
  expect(texts([])).toEqual([]);
  expect(texts([ask('a')])).toEqual([]);
  expect(texts([ask('a'), answer('b'), ask('c')])).toEqual(['a', 'b']);
  expect(texts([ask('a'), answer('b', 'local; why=short'), ask('c'), answer('')])).toEqual(['a', 'b']);
});

it('ends before the first question that was answered here, whatever came after it', () => {
  expect(texts([ask('a'), answer('b', HERE)])).toEqual([]);
  expect(texts([ask('a'), answer('b'), ask('secret'), answer('kept', HERE), ask('d'), answer('e')])).toEqual(['a', 'b']);
});
