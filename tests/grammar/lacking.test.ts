/** Vocabularies that lack bytes: what cannot be spelt is never offered, everything else works, and no mask is ever empty. */
import { describe, expect, it } from 'vitest';
import { readGguf } from '../../models/gguf/reader.ts';
import {
  createGrammarCompiler,
  type Grammar,
  type GrammarConstraint,
  GrammarError,
  type GrammarVocab,
} from '../../models/grammar/index.ts';
import { fileSource } from '../../models/node/files.ts';
import { ggufTokenizer } from '../../models/tokenizer/gguf.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import { realModel } from '../shared.ts';
import { schemas } from './schemas.ts';
import { ajv } from './validator.ts';
import { allBytes, random, small, vocabulary } from './vocabularies.small.ts';

const texts = Array.from({ length: small.size - 1 }, (_, id) => (small.isSpecial(id) ? [] : [small.bytesOf(id)])).flat();

/** The small vocabulary without all tokens that hold one of these bytes. */
const without = (...bytes: readonly number[]): GrammarVocab => vocabulary(texts.filter((t) => !t.some((b) => bytes.includes(b))));
const range = (lo: number, hi: number): number[] => Array.from({ length: hi - lo + 1 }, (_, i) => lo + i);
const code = (s: string): number[] => [...s].map((c) => c.charCodeAt(0));

/** Draws to the end, uniformly but for a pull to what closes, and checks each mask. */
function draw(grammar: Grammar, vocab: GrammarVocab, next: () => number): string {
  const c: GrammarConstraint = grammar.start();
  const out: number[] = [];
  for (let i = 0; i < 4000; i++) {
    const mask = c.mask();
    const n = members(mask, vocab.size);
    if (n === 0) throw new Error(`an empty mask after ${JSON.stringify(new TextDecoder().decode(Uint8Array.from(out)))}`);
    const ends = closing(vocab).filter((id) => mask === null || (mask[id >>> 5] >>> (id & 31)) & 1);
    const id = ends.length > 0 && next() < 0.4 ? ends[Math.floor(next() * ends.length)] : member(mask, Math.floor(next() * n));
    c.accept(id);
    if (vocab.stopIds.includes(id)) return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(out));
    out.push(...vocab.bytesOf(id));
  }
  throw new Error('no end');
}

const closers = new WeakMap<GrammarVocab, number[]>();
function closing(vocab: GrammarVocab): number[] {
  const closes = (id: number): boolean => {
    const b = vocab.bytesOf(id);
    return vocab.stopIds.includes(id) || (b.length === 1 && [0x22, 0x5d, 0x7d].includes(b[0]));
  };
  const known = closers.get(vocab) ?? range(0, vocab.size - 1).filter(closes);
  closers.set(vocab, known);
  return known;
}

/** How many bits are set. */
function bits(w: number): number {
  const pairs = w - ((w >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return (((fours + (fours >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

function members(mask: Uint32Array | null, size: number): number {
  return mask === null ? size : mask.reduce((n, w) => n + bits(w), 0);
}

/** The `n`th member. */
function member(mask: Uint32Array | null, n: number): number {
  if (mask === null) return n;
  for (let w = 0; ; n -= bits(mask[w++])) {
    if (n >= bits(mask[w])) continue;
    for (let b = 0; ; b++) if ((mask[w] >>> b) & 1 && n-- === 0) return 32 * w + b;
  }
}

const tools = [
  { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string', maxLength: 9 } }, required: ['city'] } },
  { name: 'stop' },
];

function check(vocab: GrammarVocab, tries = 3): void {
  const compiler = createGrammarCompiler(vocab);
  const next = random(7);
  for (const [name, schema] of schemas) {
    const grammar = compiler.jsonSchema(schema);
    for (let i = 0; i < tries; i++) {
      const text = draw(grammar, vocab, next);
      expect([name, text, ajv.validate(schema, JSON.parse(text))]).toEqual([name, text, true]);
    }
  }
  for (let i = 0; i < tries; i++) {
    expect(JSON.parse(draw(compiler.jsonObject(), vocab, next))).toBeTypeOf('object');
    const call = draw(compiler.tools(tools, 'required', { parallel: false }), vocab, next);
    expect(call).toMatch(/^<tool_call>\n\{.*\}\n<\/tool_call>$/s);
    JSON.parse(call.slice(12, -13));
    expect(draw(compiler.tools(tools, { name: 'stop' }, { parallel: false }), vocab, next)).toContain('"arguments": {}');
  }
}

describe('a vocabulary without', () => {
  it.each<[string, number[]]>([
    ['two lead bytes, as SmolLM2', [0xf1, 0xf2]],
    ['any byte beyond ASCII', range(0x80, 0xff)],
    ['every other continuation byte', range(0x80, 0xbf).filter((b) => b % 2 === 1)],
    ['half of the lead bytes', range(0xc2, 0xf4).filter((b) => b % 3 !== 0)],
    ['all continuation bytes but one', range(0x81, 0xbf)],
    ['letters that names and literals do not need', code('QXZJ')],
    ['marks', code("~`^|$%&'*;")],
    ['short escapes', code('\b\f\r')],
    ['controls', range(0, 31).filter((b) => b !== 10)],
  ])('%s takes every form', (_, bytes) => check(without(...bytes)));

  it('ASCII letters spells them by escapes: names, enums, patterns', () => {
    const vocab = without(...code('Qkzw'));
    const compiler = createGrammarCompiler(vocab);
    const next = random(3);
    for (const schema of [
      { enum: ['Quick', 'zoo'] },
      { const: { walk: 'Q' } },
      { type: 'object', properties: { kind: { const: 'k' } }, required: ['kind'], additionalProperties: false },
      { type: 'string', pattern: '^[Qk]{3}$' },
    ]) {
      const text = draw(compiler.jsonSchema(schema), vocab, next);
      expect([text, ajv.validate(schema, JSON.parse(text))]).toEqual([text, true]);
      expect(text).toContain('\\u00');
    }
  });

  it('bytes of UTF-8 spells what an enum wants by escapes, pairs too', () => {
    const vocab = without(...range(0x80, 0xff));
    const grammar = createGrammarCompiler(vocab).jsonSchema({ enum: ['é😀'] });
    expect(draw(grammar, vocab, random(1))).toBe('"\\u00e9\\ud83d\\ude00"');
  });

  it('the letter of a short escape takes the long one', () => {
    const vocab = without(...code('n'));
    expect(draw(createGrammarCompiler(vocab).jsonSchema({ enum: ['\n'] }), vocab, random(1))).toBe('"\\u000a"');
  });

  it('what cannot be written at all is left out of an enum, and refused by name when nothing is left', () => {
    const vocab = without(...code('7\\'));
    const compiler = createGrammarCompiler(vocab);
    for (let i = 0; i < 5; i++) expect(draw(compiler.jsonSchema({ enum: [7, 8, 'a"b', 'ab'] }), vocab, random(i))).toMatch(/^(8|"ab")$/);
    expect(() => compiler.jsonSchema({ const: 7 })).toThrow(/no value satisfies this schema that the model can spell.*0x37/);
    expect(() => createGrammarCompiler(without(...code('{'))).jsonObject()).toThrow(GrammarError);
    const open = createGrammarCompiler(without(...code('"'))).jsonObject();
    expect(draw(open, without(...code('"')), random(1))).toBe('{}');
  });

  it('what a call needs never calls where it may not, and is refused where it must', () => {
    const vocab = without(...code('\n'));
    const compiler = createGrammarCompiler(vocab);
    expect(() => compiler.tools(tools, 'required')).toThrow(GrammarError);
    const c = compiler.tools(tools, 'auto').start();
    for (const b of new TextEncoder().encode('<tool_call')) c.accept(allBytes.filter((t) => t[0] !== 10).findIndex((t) => t[0] === b));
    expect(c.mayEnd()).toBe(true);
    expect(() => c.accept(allBytes.filter((t) => t[0] !== 10).findIndex((t) => t[0] === 0x3e))).toThrow(/may not come here/);
  });

  it('bytes leaves free text as it is', () => {
    const vocab = without(0xf1, 0xf2);
    expect(createGrammarCompiler(vocab).tools(tools, 'auto').start().mask()).toBeNull();
  });
});

const models = ['SmolLM2-135M-Instruct.Q4_1.gguf', 'gemma-3-270m-q4_k_m.gguf', 'Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf'].map(realModel);
describe.each(models)('the vocabulary of $name', ({ path, missing }) => {
  it.skipIf(missing)('takes every form', { timeout: 120_000 }, async () => {
    const source = await fileSource(path);
    const t = createTokenizer(ggufTokenizer((await readGguf(source)).metadata));
    await source.close();
    check({ size: t.vocab, stopIds: t.stopIds, isSpecial: (id) => t.isSpecial(id), bytesOf: (id) => t.bytesOf(id) }, 1);
  });
});

it('what cannot be spelt is refused with the bytes that are lacking, eight at most and in ASCII', () => {
  const lacking = (bytes: readonly number[], compile: (c: ReturnType<typeof createGrammarCompiler>) => unknown) => {
    try {
      compile(createGrammarCompiler(without(...bytes)));
    } catch (error) {
      if (error instanceof GrammarError) return error.message.replace(/^.*no value satisfies this schema/, '');
      throw error;
    }
    throw new Error('was not refused');
  };
  const none = ' that the model can spell: its vocabulary has no token for ';
  expect(lacking(code('"'), (c) => c.jsonSchema({ type: 'string' }))).toBe(`${none}0x22`);
  expect(lacking([9], (c) => c.gbnf('root ::= "\\t"'))).toBe(`${none}0x09`);
  const many = lacking(code('abcdefghijklm'), (c) => c.jsonSchema({ const: 'abcdefghijklm' }));
  expect(many).toMatch(new RegExp(`^${none}0x6[1-9a-d](, 0x6[1-9a-d]){7}$`));
  expect(lacking([9, 0xc3], (c) => c.gbnf('root ::= "ä"'))).toBe('');
  expect(lacking([0xc3], (c) => c.jsonSchema(false))).toBe('');
});
