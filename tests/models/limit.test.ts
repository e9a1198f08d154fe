/** Text beyond a limit of tokens is refused as soon as that is known, and most of it is never looked at. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { folderPack } from '../../models/node/files.ts';
import { loadTokenizer, openPack } from '../../models/pack/load.ts';
import { TextTooLong } from '../../models/tokenizer/tokenizer.ts';

const source = folderPack('models/pebble');
const tokenizer = await loadTokenizer(source, (await openPack(source)).manifest);
const text = readFileSync('bench/skills/passage.txt', 'utf8');
const all = tokenizer.encode(text);

it('what has as many tokens as the limit is whole, one more is too many', () => {
  expect(tokenizer.encode(text, { limit: all.length })).toEqual(all);
  expect(() => tokenizer.encode(text, { limit: all.length - 1 })).toThrow(TextTooLong);
});

it('the fewest tokens of a text are never more than it has', () => {
  for (let n = 1; n < text.length; n += 97) {
    const part = text.slice(0, n);
    expect(tokenizer.fewest(part.length)).toBeLessThanOrEqual(tokenizer.encode(part).length);
  }
});

it('megabytes beyond it cost nothing to speak of', () => {
  const book = text.repeat(Math.ceil(4e6 / text.length));
  const began = performance.now();
  expect(() => tokenizer.encode(book, { limit: 2047 })).toThrow(/at least/);
  const spaced = 'a '.repeat(50_000); // may have few tokens, for all that its length says
  expect(() => tokenizer.encode(spaced, { limit: 2047 })).toThrow(TextTooLong);
  const refused = performance.now() - began;
  const start = performance.now();
  tokenizer.encode(book.slice(0, 400_000));
  expect(refused).toBeLessThan(performance.now() - start); // sooner than a tenth of it is encoded
});
