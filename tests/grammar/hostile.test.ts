/** Schemas made to hang or to fill the memory end soon: compiled and followed, or refused by name. */

import { describe, expect, it } from 'vitest';
import { createGrammarCompiler, GrammarError } from '../../models/grammar/index.ts';
import { buildTrie } from '../../models/grammar/trie.ts';
import { missing } from '../models/data.ts';
import { gpt2, random, small } from './vocabularies.ts';

type S = Record<string, unknown>;
const nest = (n: number, wrap: (inner: S) => S): S => {
  let s: S = { type: 'null' };
  for (let i = 0; i < n; i++) s = wrap(s);
  return s;
};
const times = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));
const properties = (n: number, make: (i: number) => unknown): S => ({
  type: 'object',
  properties: Object.fromEntries(times(n, (i) => [`p${i}`, make(i)])),
});

const hostile: [string, () => unknown, RegExp | undefined][] = [
  ['nested 5,000 deep', () => nest(5000, (items) => ({ type: 'array', items })), /nested too deep/],
  ['nested 300 deep', () => nest(300, (items) => ({ type: 'array', items })), /nested too deep/],
  ['allOf nested 1,000 deep', () => nest(1000, (s) => ({ allOf: [s] })), /nested too deep/],
  [
    'a cyclic object',
    () => {
      const s: S = {};
      s.not = s;
      return s;
    },
    /not JSON/,
  ],
  ['2^20 combinations', () => ({ allOf: times(20, () => ({ anyOf: [{ minimum: 1 }, { maximum: 2 }] })) }), /alternatives/],
  [
    'a value of 2^59 parts',
    () => {
      const $defs: S = { d0: { type: 'null' } };
      for (let i = 1; i < 60; i++)
        $defs[`d${i}`] = { type: 'array', prefixItems: times(2, () => ({ $ref: `#/$defs/d${i - 1}` })), items: false, minItems: 2 };
      return { $defs, $ref: '#/$defs/d59' };
    },
    undefined,
  ],
  [
    '2^39 ways to read each value',
    () => {
      const $defs: S = { a0: { type: 'null' }, b0: { type: 'null' } };
      for (let i = 1; i < 40; i++)
        for (const k of 'ab') $defs[k + i] = { anyOf: [...'ab'].map((j) => ({ type: 'array', items: { $ref: `#/$defs/${j}${i - 1}` } })) };
      return { $defs, $ref: '#/$defs/a39' };
    },
    undefined,
  ],
  ['a pattern of 2^30 states', () => ({ pattern: '(a|b)*a(a|b){30}' }), /too large or too ambiguous/],
  ['repetitions of repetitions', () => ({ pattern: '^((a{1,50}){1,50}){1,50}$' }), /too large or too ambiguous/],
  ['ambiguous repetitions', () => ({ pattern: '^(a{0,40}b?){0,40}$' }), /too large or too ambiguous|too long to compile/],
  ['a pattern that backtracks, on a long enum', () => ({ enum: ['a'.repeat(5000)], pattern: '^(a+)+$' }), undefined],
  ['a thousand patterns', () => properties(1000, (i) => ({ pattern: `^(a|b)*a(a|b){${i % 9}}c${i}$` })), /too long to compile|more than/],
  ['200 patterns at once', () => ({ anyOf: times(200, (i) => ({ pattern: `^[a-z]{${i % 7}}[^x]*${i}$`, type: 'string' })) }), undefined],
  ['an enum of a thousand long strings', () => ({ enum: times(1000, (i) => 'x'.repeat(100) + i) }), undefined],
  ['an enum of too many', () => ({ enum: times(1001, (i) => i) }), /at most 1000/],
  ['a million characters', () => ({ type: 'string', minLength: 900_000, maxLength: 1_000_000 }), undefined],
  [
    '10^10 items',
    () => ({ type: 'array', items: { type: 'array', items: { type: 'integer' }, maxItems: 100_000 }, minItems: 100_000 }),
    undefined,
  ],
  ['thousands of properties', () => properties(4000, () => true), /more than/],
  ['a million properties', () => ({ type: 'object', additionalProperties: true, maxProperties: 1_000_000 }), /more than/],
  ['too long a text', () => ({ description: 'x'.repeat(200_000) }), /at most 131072/],
];

describe('hostile schemas', () => {
  it.each(hostile)('%s', { timeout: 20_000 }, (_, make, refusal) => {
    const compiler = createGrammarCompiler(small);
    if (refusal) {
      try {
        compiler.jsonSchema(make());
      } catch (e) {
        expect(e).toBeInstanceOf(GrammarError);
        expect(String(e)).toMatch(refusal);
        return;
      }
      throw new Error('was not refused');
    }
    const grammar = compiler.jsonSchema(make());
    const next = random(1);
    const c = grammar.start();
    for (let i = 0; i < 60 && !c.finished(); i++) {
      const mask = c.mask();
      const ids = times(small.size, (id) => id).filter((id) => !mask || (mask[id >> 5] >>> (id & 31)) & 1);
      c.accept(ids[Math.floor(next() * ids.length)]);
    }
    expect(grammar.bytes).toBeLessThan(8 << 20);
  });

  it('a mask that takes too long to find ends in an error, not in a hang', () => {
    // 250 alternatives that differ only deep inside: each token is followed in all of them
    const branch = (i: number) => ({
      type: 'object',
      properties: { a: { type: 'array', items: { type: 'string', pattern: `^[a-z]*${i}?$` } } },
      required: ['a'],
    });
    const c = createGrammarCompiler(small, { maskWork: 200 })
      .jsonSchema({ anyOf: times(250, branch) })
      .start();
    for (const b of new TextEncoder().encode('{"a": ["abc", "abc')) c.accept(b);
    expect(() => c.mask()).toThrow(/too ambiguous to be followed/);
  });
});

const why = missing('tokenizers/hf/gpt2_tokenizer.json');
it.skipIf(why)(`the trie of 50,257 tokens stays below 2 MB${why}`, () => {
  const arrays = Object.values(buildTrie(gpt2(), [])).filter((x) => ArrayBuffer.isView(x));
  expect(arrays.length).toBe(10);
  expect(arrays.reduce((n, a) => n + a.byteLength, 0)).toBeLessThan(2e6);
});
