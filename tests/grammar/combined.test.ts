/** Keywords that combine schemas, and those that tell items apart: what they take, and that no text drawn under them is ever invalid. */
import { describe, expect, it } from 'vitest';
import { createGrammarCompiler, GrammarError } from '../../models/grammar/index.ts';
import { ajv } from './validator.ts';
import { bytes, random, small } from './vocabularies.ts';

const compiler = createGrammarCompiler(small, { grammars: 1 });

const cases: [what: string, schema: unknown, taken: string[], refused: string[]][] = [
  ['not: another type', { not: { type: ['object', 'array', 'null'] } }, ['1', '"a"', 'true'], ['null', '{}', '[]']],
  ['not: other strings', { type: 'string', not: { enum: ['yes', 'no'] } }, ['"maybe"', '""', '"yess"'], ['"yes"', '"no"']],
  ['not: a pattern', { type: 'string', maxLength: 4, not: { pattern: '^a' } }, ['"b"', '""'], ['"a"', '"ab"']],
  [
    'enum beside bounds of a number',
    { enum: [-1, 0, 2, 3, 4, 6, 'x'], type: 'integer', exclusiveMinimum: 0, maximum: 4, multipleOf: 2 },
    ['2', '4'],
    ['-1', '0', '3', '6', '"x"'],
  ],
  ['enum beside exclusiveMaximum', { enum: [1, 2, 3], minimum: 2, exclusiveMaximum: 3 }, ['2'], ['1', '3']],
  [
    'enum beside bounds of an array',
    { enum: [[], [1], [1, 1], [1, 2], ['a', 'b'], [1, 2, 3]], items: { type: 'integer' }, minItems: 1, maxItems: 2, uniqueItems: true },
    ['[1]', '[1, 2]'],
    ['[]', '[1, 1]', '["a", "b"]', '[1, 2, 3]'],
  ],
  [
    'enum beside contains',
    { enum: [[1], [7], [7, 7], [1, 7]], contains: { const: 7 }, maxContains: 1 },
    ['[7]', '[1, 7]'],
    ['[1]', '[7, 7]'],
  ],
  [
    'enum beside what an object must have',
    {
      enum: [{}, { a: 1 }, { a: 'x' }, { b: 1 }, { a: 1, b: 1 }, { a: 1, b: 1, c: 1 }],
      properties: { a: { type: 'integer' } },
      required: ['a'],
      propertyNames: { maxLength: 1 },
      maxProperties: 2,
    },
    ['{"a": 1}', '{"a": 1, "b": 1}'],
    ['{}', '{"a": "x"}', '{"b": 1}', '{"a": 1, "b": 1, "c": 1}'],
  ],
  [
    'enum beside a pattern and lengths',
    { enum: ['a', 'ab', 'abc', 'xbc', 'abcd', 5], type: 'string', pattern: '^a', minLength: 2, maxLength: 3 },
    ['"ab"', '"abc"'],
    ['"a"', '"xbc"', '"abcd"', '5'],
  ],
  [
    'const beside additionalProperties',
    {
      anyOf: [
        { const: { a: 1 }, additionalProperties: false },
        { const: 3, minimum: 3 },
      ],
    },
    ['3'],
    ['{"a": 1}'],
  ],
  [
    'enum beside values within',
    { enum: [{ a: 1 }, { a: 2 }, { a: [1] }, { a: [2] }], properties: { a: { enum: [1, [2]] } } },
    ['{"a": 1}', '{"a": [2]}'],
    ['{"a": 2}', '{"a": [1]}'],
  ],
  ['enum beside not within', { enum: [{ a: 1 }, { a: 2 }], properties: { a: { not: { const: 2 } } } }, ['{"a": 1}'], ['{"a": 2}']],
  [
    'not: items of one type',
    { type: 'array', maxItems: 2, not: { items: { type: 'integer' } } },
    ['["a"]', '[1, "a"]'],
    ['[]', '[1]', '[1, 2]'],
  ],
  ['not: other numbers', { type: 'integer', minimum: 1, maximum: 5, not: { const: 3 } }, ['1', '2', '4', '5'], ['3', '6']],
  ['not: no multiple', { type: 'integer', not: { multipleOf: 3 } }, ['1', '2', '-4'], ['3', '0', '-6']],
  [
    'not: a property that must not be',
    { type: 'object', properties: { a: { type: 'integer' }, b: { type: 'null' } }, not: { required: ['b'] } },
    ['{"a": 1}', '{}'],
    ['{"b": null}', '{"a": 1, "b": null}'],
  ],
  [
    'if, then, else',
    {
      type: 'object',
      properties: { kind: { enum: ['a', 'b'] }, n: { type: 'integer' } },
      required: ['kind'],
      if: { properties: { kind: { const: 'a' } } },
      // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
      then: { required: ['n'] },
      else: { properties: { n: false } },
    },
    ['{"kind": "a", "n": 1}', '{"kind": "b"}'],
    ['{"kind": "a"}', '{"kind": "b", "n": 1}'],
  ],
  ['oneOf with branches that overlap', { oneOf: [{ type: 'integer' }, { type: 'number', minimum: 2 }] }, ['1', '2.5', '-3'], ['3', '1.5']],
  [
    'dependentRequired',
    { type: 'object', properties: { a: { type: 'null' }, b: { type: 'null' } }, dependentRequired: { a: ['b'] } },
    ['{}', '{"b": null}', '{"a": null, "b": null}'],
    ['{"a": null}'],
  ],
  [
    'dependencies, as before 2019',
    {
      type: 'object',
      properties: { a: { type: 'null' }, b: { type: 'integer' } },
      dependencies: { a: { properties: { b: { minimum: 5 } } } },
    },
    ['{"b": 1}', '{"a": null, "b": 5}', '{"a": null}'],
    ['{"a": null, "b": 4}'],
  ],
  ['contains', { type: 'array', items: { type: 'integer' }, contains: { const: 7 } }, ['[7]', '[1, 7, 2]'], ['[]', '[1]']],
  [
    'minContains and maxContains',
    { type: 'array', items: { type: 'boolean' }, contains: { const: true }, minContains: 2, maxContains: 3 },
    ['[true, true]', '[true, false, true, true]'],
    ['[true]', '[true, true, true, true]', '[false, false]'],
  ],
  [
    'contains beside counts',
    { type: 'array', items: { type: 'integer' }, contains: { const: 7 }, minItems: 3, maxItems: 4 },
    ['[1, 2, 7]', '[7, 1, 1, 1]'],
    ['[7]', '[1, 2, 3]', '[7, 1, 1, 1, 1]'],
  ],
  [
    'uniqueItems over a few values',
    { type: 'array', items: { enum: ['a', 'b', 3] }, uniqueItems: true, minItems: 2 },
    ['["a", "b"]', '[3, "a", "b"]'],
    ['["a"]', '["a", "a"]', '[3, "a", "b", "a"]'],
  ],
  [
    'unevaluatedProperties',
    {
      allOf: [{ properties: { a: { type: 'null' } } }],
      anyOf: [{ properties: { b: { type: 'null' } }, required: ['b'] }, true],
      type: 'object',
      unevaluatedProperties: false,
    },
    ['{"a": null}', '{"a": null, "b": null}'],
    ['{"c": null}'],
  ],
  [
    'anchors and resources of their own',
    {
      $id: 'https://example.com/root.json',
      $defs: {
        n: { $anchor: 'count', type: 'integer' },
        other: { $id: 'inner/item.json', $defs: { s: { $anchor: 'text', type: 'string' } }, $ref: '#text' },
      },
      type: 'object',
      properties: { a: { $ref: '#count' }, b: { $ref: 'inner/item.json' }, c: { $ref: 'https://example.com/inner/item.json#text' } },
    },
    ['{"a": 1, "b": "x", "c": "y"}'],
    ['{"a": "x"}', '{"b": 1}', '{"c": 2}'],
  ],
  [
    'patterns that match the same name',
    { type: 'object', patternProperties: { '^a': { minimum: 3 }, b$: { maximum: 5, type: 'integer' } }, additionalProperties: false },
    ['{"ab": 4}', '{"b": 1}'],
    ['{"ab": 2}', '{"ab": 6}', '{"c": 4}'],
  ],
  ['a format of numbers says nothing', { type: 'integer', format: 'int32' }, ['7'], ['"7"']],
  ['dates in upper case', { type: 'string', format: 'date-time' }, ['"2026-01-02T03:04:05Z"'], ['"2026-01-02t03:04:05z"']],
  [
    'uri-reference',
    { type: 'string', format: 'uri-reference' },
    ['"/a/b?c#d"', '"x.html"', '"https://e.org/"', '""'],
    ['"a b"', '"\\\\x"'],
  ],
  ['byte', { type: 'string', format: 'byte' }, ['"aGk="', '""', '"aGkx"'], ['"a"', '"a==="', '"a-b_"']],
];

describe('combined schemas', () => {
  it.each(cases)('%s', (_, schema, taken, refused) => {
    const g = compiler.jsonSchema(schema);
    for (const text of taken) expect(g.matches(bytes(text)), text).toBe(true);
    for (const text of refused) expect(g.matches(bytes(text)), text).toBe(false);
  });

  it('what is recursive under a negation ends', () => {
    expect(() => compiler.jsonSchema({ not: { $ref: '#' } })).toThrow(GrammarError);
    const schema = { type: 'object', properties: { a: { $ref: '#' } }, not: { properties: { a: { $ref: '#' } }, required: ['a'] } };
    expect(() => compiler.jsonSchema(schema)).toThrow(GrammarError); // a's own not leads back to itself
  });
});

/** A random schema of few values, in which keywords meet. */
function randomSchema(next: () => number, depth: number): unknown {
  const of = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)];
  const sub = () => randomSchema(next, depth - 1);
  const leaf = () =>
    of<() => unknown>([
      () => ({ type: of(['integer', 'number', 'string', 'boolean', 'null']) }),
      () => ({ enum: [of([1, 2, 'a']), of([true, null, 'b'])] }),
      () => ({ const: of([1, 'a', true, null]) }),
      () => ({ type: 'integer', minimum: of([0, 1, 2]), maximum: of([2, 3, 4]) }),
      () => ({ type: 'integer', multipleOf: of([2, 3]) }),
      () => ({ type: 'string', pattern: of(['^a', 'b$', '^[ab]{1,2}$']), maxLength: 3 }),
      () => ({ type: 'string', minLength: of([0, 1]), maxLength: of([1, 2]) }),
    ])();
  if (depth === 0) return leaf();
  const names = ['a', 'b', 'c'];
  return of<() => unknown>([
    leaf,
    () => ({ not: sub() }),
    () => ({ anyOf: [sub(), sub()] }),
    () => ({ oneOf: [sub(), sub()] }),
    () => ({ allOf: [sub(), sub()] }),
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    () => ({ if: sub(), then: sub(), else: sub() }),
    () => ({ type: 'array', items: sub(), maxItems: 3, ...(next() < 0.5 && { contains: sub(), ...(next() < 0.5 && { maxContains: 1 }) }) }),
    () => ({ type: 'array', prefixItems: [sub()], items: sub(), maxItems: 2, not: { items: sub() } }),
    () => ({ type: 'array', items: { enum: ['a', 1, null] }, uniqueItems: true }),
    () => ({
      ...{ type: 'object', properties: { a: sub(), b: sub() }, ...(next() < 0.5 && { required: [of(names)] }) },
      ...of([{ additionalProperties: false }, { dependentRequired: { a: ['b'] } }, { not: { properties: { a: sub() }, required: ['b'] } }]),
    }),
    () => ({ type: 'object', properties: { a: sub() }, dependentSchemas: { a: { required: [of(names)] } }, maxProperties: 2 }),
    () => ({ properties: { a: sub() }, anyOf: [{ properties: { b: sub() } }, sub()], unevaluatedProperties: false, type: 'object' }),
  ])();
}

describe('no text that a mask allows is invalid', () => {
  it.each([[false], [true]])('over random schemas, open world %s', { timeout: 120_000 }, (open) => {
    const next = random(open ? 11 : 5);
    const counts = { schemas: 0, refused: 0, texts: 0 };
    for (let i = 0; i < 500; i++) {
      const schema = randomSchema(next, 2) as object;
      let grammar: ReturnType<typeof compiler.jsonSchema>;
      try {
        grammar = compiler.jsonSchema(schema, { open });
      } catch (e) {
        if (!(e instanceof GrammarError)) throw e;
        counts.refused++;
        continue;
      }
      counts.schemas++;
      const validate = ajv.compile(schema);
      for (let n = 0; n < 4; n++) {
        const c = grammar.start();
        const out: number[] = [];
        let ended = false;
        for (let s = 0; s < 200 && !ended; s++) {
          const mask = c.mask()!;
          const ids = Array.from({ length: 256 }, (_, id) => id).filter(
            (id) => (mask[id >> 5] >>> (id & 31)) & 1 && (id < 128 || s % 7 === 0),
          );
          // ends when it may, and prefers what closes
          if (c.mayEnd() || ids.length === 0) ended = c.mayEnd();
          if (ended || ids.length === 0) break;
          const closing = ids.filter((id) => id === 0x22 || id === 0x5d || id === 0x7d);
          const id = closing.length > 0 && next() < 0.4 ? closing[0] : ids[Math.floor(next() * ids.length)];
          c.accept(id);
          out.push(id);
        }
        if (!ended) continue;
        const text = new TextDecoder().decode(Uint8Array.from(out));
        expect(validate(JSON.parse(text)), `${text} under ${JSON.stringify(schema)}`).toBe(true);
        counts.texts++;
      }
    }
    expect(counts.schemas).toBeGreaterThan(300);
    expect(counts.texts).toBeGreaterThan(800);
  });
});
