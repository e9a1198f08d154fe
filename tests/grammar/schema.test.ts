import { describe, expect, it } from 'vitest';
import { createGrammarCompiler, GrammarError, type SchemaOptions } from '../../models/grammar/index.ts';
import { bytes, dumps, small } from './vocabularies.ts';

const compiler = createGrammarCompiler(small);
const takes = (schema: unknown, text: string, options?: SchemaOptions) => compiler.jsonSchema(schema, options).matches(bytes(text));

/** [what, schema, texts taken, texts refused] */
const cases: [string, unknown, string[], string[]][] = [
  [
    'white space: one space after a colon or comma',
    { type: 'array', items: { type: 'object', properties: { a: { type: 'null' }, b: { type: 'null' } } } },
    ['[{"a": null, "b": null}, {}]'],
    ['[{"a":null}]', '[{},{}]', ' []', '[ ]', '[] ', '[{"a":  null}]', '[\n]'],
  ],
  [
    "properties in the schema's order, optional ones left out",
    { type: 'object', properties: { a: { type: 'null' }, b: { type: 'null' }, c: { type: 'null' } }, required: ['b'] },
    ['{"a": null, "b": null, "c": null}', '{"b": null}', '{"b": null, "c": null}'],
    ['{}', '{"a": null}', '{"c": null, "b": null}', '{"b": null, "d": null}'],
  ],
  [
    'additionalProperties as a schema, never a declared name',
    { type: 'object', properties: { a: { type: 'null' } }, additionalProperties: { type: 'boolean' } },
    ['{"a": null, "x": true}', '{"x": true, "": false}', '{"ab": true}'],
    ['{"a": true}', '{"x": null}', '{"x": true, "a": null}', '{"\\u0061": true}'],
  ],
  [
    'required names that are not declared',
    { type: 'object', required: ['x'], additionalProperties: { type: 'null' } },
    ['{"x": null}', '{"x": null, "y": null}'],
    ['{}', '{"y": null}'],
  ],
  [
    'patternProperties',
    {
      type: 'object',
      properties: { s_a: true },
      patternProperties: { '^s_': { type: 'string' }, '^n_': { type: 'null' } },
      additionalProperties: false,
    },
    ['{"s_x": "1", "n_": null}', '{"s_a": "1"}'],
    ['{"s_x": null}', '{"s_a": 1}', '{"z": 1}'],
  ],
  ['propertyNames', { type: 'object', propertyNames: { pattern: '^[a-c]{2}$' } }, ['{"ab": 1}', '{}'], ['{"a": 1}', '{"abc": 1}']],
  [
    'minProperties and maxProperties',
    { type: 'object', properties: { a: { type: 'null' }, b: { type: 'null' }, c: { type: 'null' } }, minProperties: 1, maxProperties: 2 },
    ['{"a": null}', '{"b": null, "c": null}'],
    ['{}', '{"a": null, "b": null, "c": null}'],
  ],
  [
    'names that JavaScript objects inherit',
    { type: 'object', properties: JSON.parse('{"__proto__": {"type": "null"}, "toString": {"type": "null"}}'), required: ['toString'] },
    ['{"__proto__": null, "toString": null}', '{"toString": null}'],
    ['{}', '{"__proto__": 1, "toString": null}'],
  ],
  [
    'names and values beyond ASCII, raw or escaped',
    { type: 'object', properties: { 'é"': { const: '日😀' } }, required: ['é"'] },
    ['{"é\\"": "日😀"}', '{"\\u00e9\\"": "\\u65e5😀"}'],
    ['{"é": "日😀"}', '{"é\\"": "日"}'],
  ],
  [
    'items with counts',
    { type: 'array', items: { type: 'integer' }, minItems: 2, maxItems: 3 },
    ['[1, 2]', '[1, 2, 3]'],
    ['[]', '[1]', '[1, 2, 3, 4]', '[1, "2"]'],
  ],
  [
    'prefixItems, then items',
    { type: 'array', prefixItems: [{ type: 'null' }, { type: 'boolean' }], items: { type: 'integer' }, maxItems: 4 },
    ['[]', '[null]', '[null, true, 1, 2]'],
    ['[true]', '[null, 1]', '[null, true, null]', '[null, true, 1, 2, 3]'],
  ],
  [
    'a tuple and nothing more',
    { type: 'array', prefixItems: [{ type: 'null' }], items: false, minItems: 1 },
    ['[null]'],
    ['[]', '[null, null]'],
  ],
  ['arrays of no items', { type: 'array', maxItems: 0 }, ['[]'], ['[1]']],
  ['string lengths', { type: 'string', minLength: 1, maxLength: 3 }, ['"a"', '"日本語"', '"\\n\\\\\\""'], ['""', '"abcd"']],
  [
    'strings hold any character but raw controls',
    { type: 'string' },
    ['"\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\/\u007f"', '"\\ud83d\\ude00 \\u00e9"'],
    ['"\n"', '"\\x"', '"\\u00"', '"\\ud83d"', '"\\ude00"', '"\\u0061"', '"', 'a'],
  ],
  ['a pattern, found anywhere', { type: 'string', pattern: 'b+' }, ['"b"', '"abbc"', '"é\\nb"'], ['""', '"a"']],
  [
    'an anchored pattern',
    { type: 'string', pattern: '^(?:[a-c]|\\d{2,3})+-\\w?\\.$' },
    ['"a12-."', '"ab123-x."'],
    ['"1-."', '"d-."', '"a-x.x"'],
  ],
  ['a pattern whose alternatives are anchored apart', { type: 'string', pattern: '^a|b$' }, ['"ax"', '"xb"', '"a"'], ['"xa"', '"bx"']],
  [
    'a pattern with quotes, backslashes and classes',
    { type: 'string', pattern: '^["\\\\\\]\\-x]+[^a-z]$' },
    ['"\\"\\\\]-xA"', '"xé"'],
    ['"\\"a"', '"y1"'],
  ],
  ['pattern and length', { type: 'string', pattern: '^(ab)*$', minLength: 3, maxLength: 5 }, ['"abab"'], ['"ab"', '"ababab"', '""']],
  [
    'two patterns and a format',
    { allOf: [{ pattern: '^2' }, { pattern: '7$' }], type: 'string', format: 'date' },
    ['"2024-02-27"'],
    ['"2024-02-26"', '"1024-02-27"'],
  ],
  [
    'integers',
    { type: 'integer' },
    ['0', '-1', '42', '9007199254740991', '-9007199254740991'],
    ['-0', '01', '1.0', '1e3', '9007199254740992', '+1', '-'],
  ],
  [
    'an integer range',
    { type: 'integer', minimum: -12, maximum: 105 },
    ['-12', '-9', '0', '7', '99', '105'],
    ['-13', '106', '-100', '1000', '-0'],
  ],
  ['an exclusive integer range', { type: 'integer', exclusiveMinimum: 0, exclusiveMaximum: 3 }, ['1', '2'], ['0', '3', '-1']],
  ['an integer range between fractions', { type: 'integer', minimum: 0.5, maximum: 2.5 }, ['1', '2'], ['0', '3']],
  ['multiples', { type: 'integer', multipleOf: 7, minimum: -21 }, ['-21', '0', '14', '700'], ['-28', '1', '15']],
  [
    'numbers',
    { type: 'number' },
    ['0', '-0.5', '3.14', '1e-05', '1e+20', '-1.5e-07', '1e300', '123456789012.25'],
    ['.5', '1.', '1e', '1e400', '00', '-', 'NaN', 'Infinity'],
  ],
  [
    'a number range',
    { type: 'number', minimum: -0.5, maximum: 1.25 },
    ['-0.5', '0', '0.0', '1', '1.25', '1.2499', '-0.49', '-0.5000'],
    ['-0.51', '1.26', '1.2501', '2', '1e0', '-1'],
  ],
  [
    'an exclusive number range',
    { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 },
    ['0.5', '0.0000000001', '0.999'],
    ['0', '0.0', '1', '1.0', '-0.1'],
  ],
  ['hundredths', { type: 'number', multipleOf: 0.01, minimum: 0 }, ['0.25', '3', '3.5', '12.34'], ['0.125', '-0.01']],
  ['quarters', { type: 'number', multipleOf: 0.25, maximum: 2 }, ['0.25', '0.5', '-1.75', '2', '1.50'], ['0.3', '2.25', '0.125']],
  ['types', { type: ['string', 'null', 'boolean'] }, ['"a"', 'null', 'true', 'false'], ['1', '[]', '{}', 'True']],
  ['nullable, as OpenAPI 3.0 has it', { type: 'integer', nullable: true }, ['null', '1'], ['""']],
  [
    'enum, narrowed by its siblings',
    { type: ['string', 'integer'], enum: ['a', 'abcd', 3, 9, null, 'é'], maxLength: 2, minimum: 5 },
    ['"a"', '9', '"é"', '"\\u00e9"'],
    ['"abcd"', '3', 'null'],
  ],
  [
    'const of any kind',
    { const: { a: [1, 'x', null], b: { c: true } } },
    ['{"a": [1, "x", null], "b": {"c": true}}'],
    ['{"a": [1, "x"], "b": {"c": true}}', '{}'],
  ],
  [
    'anyOf with common beginnings',
    { anyOf: [{ const: 'abc' }, { const: 'abd' }, { type: 'integer', minimum: 10 }, { const: 1 }] },
    ['"abc"', '"abd"', '10', '1'],
    ['"ab"', '2', '"abe"'],
  ],
  [
    'anyOf beside other keywords',
    { type: 'object', properties: { a: { type: 'integer' }, b: { type: 'null' } }, anyOf: [{ required: ['a'] }, { required: ['b'] }] },
    ['{"a": 1}', '{"b": null}', '{"a": 1, "b": null}'],
    ['{}'],
  ],
  [
    'oneOf of branches apart',
    {
      oneOf: [
        { type: 'object', properties: { kind: { const: 'a' }, x: { type: 'integer' } }, required: ['kind', 'x'] },
        { type: 'object', properties: { kind: { const: 'b' } }, required: ['kind'] },
      ],
    },
    ['{"kind": "a", "x": 1}', '{"kind": "b"}'],
    ['{"kind": "a"}', '{"kind": "b", "x": 1}'],
  ],
  [
    'allOf, merged',
    {
      allOf: [
        { type: 'object', properties: { a: { type: 'integer', minimum: 2 } }, required: ['a'] },
        { properties: { a: { maximum: 4 }, b: { type: 'null' } } },
      ],
    },
    ['{"a": 3}', '{"a": 4, "b": null}'],
    ['{"a": 1}', '{"a": 5}', '{"b": null}'],
  ],
  [
    'references, also to themselves',
    {
      $defs: {
        n: {
          type: 'object',
          properties: { v: { type: 'integer' }, next: { anyOf: [{ $ref: '#/$defs/n' }, { type: 'null' }] } },
          required: ['v', 'next'],
        },
      },
      $ref: '#/$defs/n',
    },
    ['{"v": 1, "next": null}', '{"v": 1, "next": {"v": 2, "next": {"v": 3, "next": null}}}'],
    ['{"v": 1}', '{"v": 1, "next": {"v": 2}}'],
  ],
  [
    'a reference to the root, and escaped pointers',
    { type: 'array', items: { anyOf: [{ $ref: '#' }, { $ref: '#/$defs/a~1b~0c%25' }] }, $defs: { 'a/b~c%': { const: 1 } } },
    ['[]', '[[], [1, [1]]]'],
    ['[2]', '[[2]]'],
  ],
  [
    'a name as draft 7 gives it, by an $id that is a fragment',
    {
      anyOf: [{ $ref: '#one' }, { $ref: 'https://a.test/b#two' }],
      $id: 'https://a.test/b',
      $defs: { a: { $id: '#one', const: 1 }, b: { $anchor: 'two', const: 2 } },
    },
    ['1', '2'],
    ['3'],
  ],
  [
    'a reference whose stray percent signs stand for themselves',
    { anyOf: [{ $ref: '#/$defs/a%FFb' }, { $ref: '#/$defs/%zz%41' }], $defs: { 'a%FFb': { const: 1 }, '%zzA': { const: 2 } } },
    ['1', '2'],
    ['3'],
  ],
  [
    'annotations do not matter',
    {
      $schema: 'x',
      $id: 'y',
      title: 't',
      description: 'd',
      default: 1,
      examples: [1],
      $comment: 'c',
      deprecated: true,
      readOnly: true,
      'x-own': {},
      contentEncoding: 'base64',
      type: 'null',
    },
    ['null'],
    ['1'],
  ],
  ['a closed world: no properties declared means none', { type: 'object', properties: {} }, ['{}'], ['{"a": 1}']],
  ['an object of which nothing is said', { type: 'object' }, ['{}', '{"a": [1]}'], ['[]']],
  [
    'a closed world: a type from the keywords, no undeclared properties',
    { properties: { a: { minimum: 1 } } },
    ['{}', '{"a": 1}', '{"a": 1.5}'],
    ['1', '{"b": 1}', '{"a": 0}', '{"a": "x"}'],
  ],
];

describe('schemas', () => {
  it.each(cases)('%s', (_, schema, good, bad) => {
    for (const text of good) expect(takes(schema, text), text).toBe(true);
    for (const text of bad) expect(takes(schema, text), text).toBe(false);
  });

  it('in an open world take undeclared properties and other types', () => {
    const schema = { properties: { a: { minimum: 1 } } };
    for (const text of ['1', '{"b": [1, {"c": null}]}', '{"a": "x"}']) expect(takes(schema, text, { open: true })).toBe(true);
    expect(takes(schema, '{"a": 0}', { open: true })).toBe(false);
  });

  it('any object: whatever json.dumps writes', () => {
    const g = compiler.jsonObject();
    const value = { a: [1, -2.5, 1e-7, true, null, 'x"\\\n\u0001é日😀', [], {}], b: { c: { d: [[['deep']]] } }, '': '' };
    expect(g.matches(bytes(dumps(value)))).toBe(true);
    for (const text of ['[]', '1', '"a"', '{"a"}', '{"a": }', '{,}', '{"a": 1,}', "{'a': 1}"]) expect(g.matches(bytes(text))).toBe(false);
  });
});

const formats: [string, string[], string[]][] = [
  ['date', ['2024-02-29', '2000-02-29', '1999-12-31'], ['2023-02-29', '1900-02-29', '2024-04-31', '2024-13-01', '2024-1-1']],
  ['time', ['23:59:59Z', '08:30:06.283185+01:00'], ['24:00:00Z', '08:30:06', '8:30:06Z']],
  ['date-time', ['1985-04-12T23:20:50.52Z', '2024-02-29T00:00:00-08:00'], ['2024-02-30T00:00:00Z', '2024-02-29 00:00:00Z']],
  ['duration', ['P4DT12H30M5S', 'P2W', 'PT1M', 'P1Y2D'.replace('2D', '2M')], ['P', 'PT', 'P1D2H', '4D']],
  ['email', ['ada@example.com', 'a.b+c@x-y.org'], ['ada', '@x.com', 'a..b@x.com', 'ada@-x.com', 'ada@']],
  ['hostname', ['example.com', 'a-b.c1'], ['-a.com', 'a_b', 'a..b', 'xn--x']],
  ['ipv4', ['192.168.0.1', '255.255.255.255'], ['256.0.0.1', '1.2.3', '01.2.3.4']],
  ['ipv6', ['::1', '::', '2001:db8::8a2e:370:7334', '::ffff:1.2.3.4'], ['1::2::3', '12345::', ':1']],
  ['uuid', ['2eb8aa08-aa98-11ea-b4aa-73b441d16380'], ['2eb8aa08aa9811eab4aa73b441d16380', '2eb8aa08-aa98-11ea-b4aa-73b441d1638']],
  [
    'uri',
    ['http://foo.bar/?baz=qux#quux', 'mailto:a@b.c', 'urn:x:y', 'http://[2001:db8::7]:80/c'],
    ['//foo', 'foo', 'http://a b', 'http://e.com:abc/p'],
  ],
  ['json-pointer', ['', '/a~0b/c'], ['a', '/a~']],
];

describe('formats', () => {
  it.each(formats)('%s', (format, good, bad) => {
    for (const s of good) expect(takes({ type: 'string', format }, JSON.stringify(s)), s).toBe(true);
    for (const s of bad) expect(takes({ type: 'string', format }, JSON.stringify(s)), s).toBe(false);
  });
});

describe('refusals name the place and the keyword', () => {
  const refused: [unknown, string, string, RegExp][] = [
    [{ type: 'array', items: { $dynamicRef: 'x' } }, '/items', '$dynamicRef', /not supported/],
    [{ type: 'array', uniqueItems: true }, '', 'uniqueItems', /needs items of a few values/],
    [{ type: 'array', contains: {}, minContains: 300 }, '', 'contains', /at most 256/],
    [{ type: 'object', properties: { a: { dependentRequired: { b: [1] } } } }, '/properties/a/dependentRequired/b', '', /strings/],
    [
      { allOf: [{ anyOf: [true, { properties: { a: true } }], unevaluatedProperties: false }] },
      '/allOf/0',
      'unevaluatedProperties',
      /speak/,
    ],
    [{ properties: { 'a/b': { type: 'strin' } } }, '/properties/a~1b', 'type', /"strin" is no JSON Schema type/],
    [{ type: 'string', format: 'iri' }, '', 'format', /"iri" is not enforced; known are date/],
    [{ type: 'string', pattern: '(?=a)b' }, '', 'pattern', /lookahead/],
    [{ type: 'string', pattern: '(a)\\1' }, '', 'pattern', /back references/],
    [{ type: 'string', pattern: 'a(^b)' }, '', 'pattern', /anchors/],
    [{ type: 'string', pattern: '[z-a]' }, '', 'pattern', /bad range/],
    [{ $ref: '#/$defs/none' }, '', '$ref', /does not exist/],
    [{ $ref: 'https://example.com/s.json' }, '', '$ref', /leads to another document; only references within this one/],
    [{ $ref: '#' }, '', '$ref', /leads back to itself/],
    [{ anyOf: [{ $ref: '#' }, { type: 'null' }] }, '/anyOf/0', '$ref', /leads back to itself/],
    [{ anyOf: [] }, '', 'anyOf', /non-empty array/],
    [{ type: 'string', minLength: -1 }, '', 'minLength', /whole number/],
    [{ type: 'string', maxLength: 1e9 }, '', 'maxLength', /more than the 1000000/],
    [{ type: 'number', minimum: 'a' }, '', 'minimum', /must be a number/],
    [{ type: 'number', multipleOf: 0.123456 }, '', 'multipleOf', /at most 512 units/],
    [{ type: 'object', minProperties: 3 }, '', 'minProperties', /cannot be counted/],
    [{ properties: { a: 1 } }, '/properties/a', '', /must be an object, true or false/],
    [3, '', '', /must be an object, true or false/],
    [undefined, '', '', /must be an object/],
  ];
  it.each(refused)('%j', (schema, pointer, keyword, reason) => {
    try {
      compiler.jsonSchema(schema);
    } catch (e) {
      expect(e).toBeInstanceOf(GrammarError);
      expect(e).toMatchObject({ pointer, keyword });
      expect(String(e)).toMatch(reason);
      return;
    }
    throw new Error('was not refused');
  });

  it.each([
    [false],
    [{ enum: [] }],
    [{ type: 'string', enum: [1] }],
    [{ type: 'integer', minimum: 3, maximum: 2 }],
    [{ type: 'object', properties: { a: false }, required: ['a'] }],
    [{ type: 'array', items: false, minItems: 1 }],
    [{ type: 'array', prefixItems: [true], items: false, minItems: 2 }],
    [{ type: 'string', pattern: '^a$', minLength: 2 }],
    [{ type: 'string', minLength: 3, maxLength: 2 }],
    [{ allOf: [{ type: 'string' }, { type: 'null' }] }],
    [{ $defs: { n: { type: 'array', items: { $ref: '#/$defs/n' }, minItems: 1 } }, $ref: '#/$defs/n' }],
  ])('no value satisfies %j', (schema) => {
    expect(() => compiler.jsonSchema(schema)).toThrow(/no value satisfies this schema/);
  });

  it('parts that no value can satisfy are left out', () => {
    const schema = { type: 'object', properties: { a: { type: 'array', items: false }, b: { enum: [] }, c: { type: 'null' } } };
    expect(takes(schema, '{"a": [], "c": null}')).toBe(true);
    expect(takes(schema, '{"b": 1}')).toBe(false);
    const c = compiler.jsonSchema(schema).start();
    for (const b of bytes('{"a": [')) c.accept(b);
    expect(() => c.accept('1'.charCodeAt(0))).toThrow();
  });

  it('unsupported keywords can be left out, and are named each time', () => {
    const schema = { type: 'array', uniqueItems: true, items: { type: 'string', format: 'iri' } };
    for (let i = 0; i < 2; i++) {
      const left: string[] = [];
      const g = compiler.jsonSchema(schema, { onUnsupported: (pointer, keyword) => left.push(`${pointer} ${keyword}`) });
      expect(left).toEqual(['/items format', ' uniqueItems']);
      expect(g.ignored).toEqual(left);
      expect(g.matches(bytes('["a", "a"]'))).toBe(true);
    }
    expect(() => compiler.jsonSchema(schema)).toThrow(GrammarError);
  });

  it.each(['(?=a)b', '(?<!a)b', '(?i)b', '(b)\\1', '\\bb', '\\p{L}', 'a(^b)'])(
    'pattern %s can be left out, what is beside it holds',
    (pattern) => {
      const lenient = { onUnsupported: () => {} };
      const g = compiler.jsonSchema({ type: 'string', pattern, maxLength: 2 }, lenient);
      expect(g.ignored).toEqual([' pattern']);
      expect(['"xy"', '"xyz"', '1'].map((text) => g.matches(bytes(text)))).toEqual([true, false, false]);
      expect(() => compiler.jsonSchema({ type: 'string', pattern })).toThrow(/"pattern": .*support/);
      const named = { type: 'object', patternProperties: { [pattern]: { type: 'number' } }, additionalProperties: { type: 'null' } };
      expect(compiler.jsonSchema(named, lenient).ignored).toHaveLength(1);
      expect(() => compiler.jsonSchema({ type: 'string', pattern: '[z-a]' }, lenient)).toThrow(/bad range/); // no pattern at all
    },
  );
});
