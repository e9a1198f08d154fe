/** Whatever a sampler draws at temperature 1 under a mask is valid: 500 texts over 20 schemas from logits that know nothing of JSON. */

import { describe, expect, it } from 'vitest';
import { createGrammarCompiler, type GrammarConstraint, type GrammarVocab } from '../../models/grammar/index.ts';
import { missing } from '../models/data.ts';
import { schemas } from './schemas.ts';
import { ajv } from './validator.ts';
import { bytes, gpt2, pebble, pebbleMissing, random, small } from './vocabularies.ts';

const EACH = 25;
const MAX_TOKENS = 600;

/** Logits from a normal distribution, new at every step, plus Gumbel noise: the largest allowed is a draw at temperature 1. */
function sampler(seed: number) {
  const next = random(seed);
  const size = 1 << 13;
  const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  const logits = Float64Array.from({ length: size }, () => 3 * normal());
  const gumbel = Float64Array.from({ length: size }, () => -Math.log(-Math.log(1 - next())));
  return (c: GrammarConstraint, vocab: GrammarVocab): number => {
    const mask = c.mask();
    const [a, b] = [Math.floor(next() * size), Math.floor(next() * size)];
    let best = -1;
    let high = -Infinity;
    for (let id = 0; id < vocab.size; id++) {
      if (mask !== null && ((mask[id >> 5] >>> (id & 31)) & 1) === 0) continue;
      const x = logits[(id * 2654435761 + a) & (size - 1)] + gumbel[(id * 40503 + b) & (size - 1)];
      if (x > high) [best, high] = [id, x];
    }
    return best;
  };
}

/** Draws until the stop, and gives the text. */
function draw(c: GrammarConstraint, vocab: GrammarVocab, sample: (c: GrammarConstraint, v: GrammarVocab) => number): string {
  const out: number[] = [];
  for (let i = 0; i < MAX_TOKENS; i++) {
    const id = sample(c, vocab);
    expect(id).toBeGreaterThanOrEqual(0);
    c.accept(id);
    if (vocab.stopIds.includes(id)) return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(out));
    out.push(...vocab.bytesOf(id));
  }
  throw new Error(`no end after ${MAX_TOKENS} tokens: ${new TextDecoder().decode(Uint8Array.from(out)).slice(0, 200)}`);
}

const why = missing('tokenizers/hf/gpt2_tokenizer.json');
const vocabularies: [string, string, () => GrammarVocab][] = [
  ['a small vocabulary', '', () => small],
  [`the shipped model's vocabulary${pebbleMissing}`, pebbleMissing, pebble],
  [`GPT-2's vocabulary${why}`, why, gpt2],
];

describe.each(vocabularies)('500 texts over 20 schemas at temperature 1, %s', (_, skip, make) => {
  const vocab = skip ? small : make();
  const compiler = createGrammarCompiler(vocab);
  it('are twenty schemas', () => expect(schemas.length * EACH).toBe(500));
  it.skipIf(skip).each(schemas)('%s', (_name, schema) => {
    const validate = ajv.compile(schema);
    const grammar = compiler.jsonSchema(schema);
    const sample = sampler(schemas.findIndex(([, s]) => s === schema) + 1);
    const texts = new Set<string>();
    for (let i = 0; i < EACH; i++) {
      const text = draw(grammar.start(), vocab, sample);
      const valid = validate(JSON.parse(text));
      expect([text, valid, validate.errors]).toEqual([text, true, null]);
      expect(grammar.matches(bytes(text))).toBe(true);
      texts.add(text);
    }
    expect(texts.size).toBeGreaterThan(5);
  });

  it.skipIf(skip)('a tool call', () => {
    const [[, parameters]] = schemas;
    const grammar = compiler.tools([{ name: 'save', parameters }, { name: 'stop' }], 'required', { parallel: false });
    const sample = sampler(99);
    for (let i = 0; i < EACH; i++) {
      const text = draw(grammar.start(), vocab, sample);
      const call = /^<tool_call>\n(.*)\n<\/tool_call>$/.exec(text);
      const { name, arguments: args } = JSON.parse(call?.[1] ?? '');
      expect(name === 'stop' ? Object.keys(args).length === 0 : ajv.validate(parameters, args)).toBe(true);
    }
  });
});
