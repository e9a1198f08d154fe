/** Patterns against JavaScript's own, grammars against their texts, and every complaint to the letter. */
import { describe, expect, it } from 'vitest';
import { createGrammarCompiler } from '../../models/grammar/index.ts';
import { bytes, small } from './vocabularies.small.ts';

const compiler = createGrammarCompiler(small);
const why = (make: () => unknown): string => {
  try {
    make();
  } catch (error) {
    return (error as Error).message;
  }
  return 'none';
};

/** All texts of up to `n` of these characters. */
const textsOf = (alphabet: string, n: number): string[] => {
  let last = [''];
  const all = [''];
  for (let i = 0; i < n; i++) {
    last = last.flatMap((t) => [...alphabet].map((c) => t + c));
    all.push(...last);
  }
  return all;
};

describe('a pattern', () => {
  it.each<[pattern: string, alphabet: string, length: number]>([
    ['a*', 'ab', 4],
    ['a+b?', 'ab', 4],
    ['(ab)*a?', 'ab', 5],
    ['a{2}', 'ab', 4],
    ['a{2,}', 'ab', 5],
    ['a{1,3}b{0}', 'ab', 4],
    ['a{0,1}', 'ab', 3],
    ['(a|b){2,3}', 'ab', 4],
    ['(?:a|ab)(?:c|bcd)?', 'abcd', 4],
    ['(?<name>a)b', 'ab', 3],
    ['a*?b+?a??', 'ab', 4],
    ['a{,2}', 'a{,2}', 5],
    ['a{x}', 'ax{}', 4],
    ['a|b|', 'ab', 2],
    ['|a', 'ab', 2],
    ['a||b', 'ab', 2],
    ['(|a)b', 'ab', 2],
    ['.', 'a\n\r\u2028\u2029é😀', 1],
    ['[ab]', 'abc', 2],
    ['[^ab]', 'abcé\n', 1],
    ['[a-c]', 'abcd`', 1],
    ['[c-]', 'abc-', 1],
    ['[-a]', 'ab-', 1],
    ['[a-]', 'ab-', 1],
    ['[\\]\\\\]', ']\\a', 1],
    ['[\\d_]', '059_a', 1],
    ['[^\\w]', 'aZ0_- é', 1],
    ['[a^]', 'a^b', 1],
    ['\\d', '/09:٣', 1],
    ['\\D', '/09:a', 1],
    ['\\w', '/09:@AZ[^_`az{é', 1],
    ['\\W', '/09:@AZ[^_`az{é', 1],
    ['\\s', '\t\n\v\f\r \u0008\u000e\u00a0\u1680\u167f\u2000\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff', 1],
    ['\\S', '\t\n\v\f\r \u0008\u000e\u00a0a', 1],
    ['\\t\\n\\v\\f\\r\\0', '\t\n\v\f\r\0', 0],
    ['[\\t\\n\\v\\f\\r\\0]', '\t\n\v\f\r\0\u0001a', 1],
    ['[\\b]', '\b\u0007\ta', 1],
    ['\\cA\\cz', '\u0001\u001aA', 2],
    ['\\x41', 'A4x', 1],
    ['\\u0041\\u00e9', 'Aéu', 2],
    ['\\ud83d\\ude00', '😀a', 1],
    ['[\\u0041-\\u0043]', '@ABCD', 1],
    ['\\u{1F600}|\\u{61}', '😀ab', 1],
    ['\\.\\*\\/\\-\\$\\^', '.*/-$^', 0],
    ['é+😀', 'é😀a', 3],
    ['^a$', 'ab', 2],
    ['^a|b$', 'ab', 2],
  ])('/%s/ takes what JavaScript takes', (pattern, alphabet, length) => {
    const grammar = compiler.regex(pattern);
    // a flag where it does not forbid what is meant here: characters beyond the first plane are one
    const wide = [...`${pattern}${alphabet}`].some((c) => c > '\x7f') || /\\u\{|\\ud8/.test(pattern);
    const flags = wide && !/\\-|\\\//.test(pattern) ? 'u' : '';
    const own = new RegExp(`^(?:${pattern.replace(/^\^|\$$/g, '').replace('|b$', '|b')})$`, flags);
    const texts = length === 0 ? ['', alphabet, alphabet.slice(1), `${alphabet}a`] : textsOf(alphabet, length);
    for (const text of texts) expect(grammar.matches(bytes(text)), JSON.stringify(text)).toBe(own.test(text));
  });

  it.each(['a', '^a', 'a$', '^a$', '^a|b$', 'a|^b', '^', '$', '^$', 'a{2}', '(a|b)b$'])(
    '/%s/ in a schema is looked for anywhere',
    (pattern) => {
      const grammar = compiler.jsonSchema({ type: 'string', pattern });
      for (const text of textsOf('abc', 4)) expect(grammar.matches(bytes(JSON.stringify(text))), text).toBe(new RegExp(pattern).test(text));
    },
  );

  it.each([
    ['a)', 'unmatched ) (character 1 of /a)/)'],
    ['a^b', 'anchors are supported only first and last (character 2 of /a^b/)'],
    ['a$b', 'anchors are supported only first and last (character 2 of /a$b/)'],
    ['(a$)', 'anchors are supported only first and last (character 2 of /(a$)/)'],
    ['(^a)', 'anchors are supported only first and last (character 2 of /(^a)/)'],
    ['a{3,2}', 'a repetition with its bounds swapped (character 6 of /a{3,2}/)'],
    ['*a', 'nothing to repeat (character 1 of /*a/)'],
    ['a|+', 'nothing to repeat (character 3 of /a|+/)'],
    ['(?', 'lookahead, lookbehind and flags are not supported (character 2 of /(?/)'],
    ['(?=a)', 'lookahead, lookbehind and flags are not supported (character 2 of /(?=a)/)'],
    ['(?<=a)', 'lookahead, lookbehind and flags are not supported (character 2 of /(?<=a)/)'],
    ['(a', 'missing ) (character 2 of /(a/)'],
    ['[a', 'missing ] (character 2 of /[a/)'],
    ['[b-a]', 'a bad range in a class (character 4 of /[b-a]/)'],
    ['[\\d-a]', 'a bad range in a class (character 5 of /[\\d-a]/)'],
    ['[a-\\d]', 'a bad range in a class (character 5 of /[a-\\d]/)'],
    ['\\', 'a lone backslash (character 2 of /\\/)'],
    ['\\1', 'back references are not supported (character 2 of /\\1/)'],
    ['\\k', 'back references are not supported (character 2 of /\\k/)'],
    ['\\b', '\\b is not supported (character 2 of /\\b/)'],
    ['\\p', '\\p is not supported (character 2 of /\\p/)'],
    ['\\c1', '\\c is not supported (character 2 of /\\c1/)'],
    ['\\x4', 'a bad hexadecimal escape (character 2 of /\\x4/)'],
    ['\\xg0', 'a bad hexadecimal escape (character 2 of /\\xg0/)'],
    ['\\u004', 'a bad hexadecimal escape (character 2 of /\\u004/)'],
    ['\\u{}', 'a bad hexadecimal escape (character 3 of /\\u{}/)'],
    ['\\u{1234567}', 'a bad hexadecimal escape (character 3 of /\\u{1234567}/)'],
    ['\\u{110000}', 'a bad hexadecimal escape (character 3 of /\\u{110000}/)'],
    ['\\u{41', 'a bad hexadecimal escape (character 3 of /\\u{41/)'],
  ])('%s is refused with the place', (pattern, reason) => {
    expect(why(() => compiler.regex(pattern))).toContain(reason);
  });
});

describe('a grammar', () => {
  const source = (body: string) => `root ::= ${body}\n`;
  it.each<[body: string, takes: string[], refuses: string[]]>([
    ['"a" "b"', ['ab'], ['a', 'abb', '']],
    ['"a"*', ['', 'a', 'aaa'], ['b', 'ab']],
    ['"a"+', ['a', 'aaa'], ['', 'b']],
    ['"a"?', ['', 'a'], ['aa']],
    ['"a"{2}', ['aa'], ['a', 'aaa', '']],
    ['"a"{ 2 , }', ['aa', 'aaaa'], ['a']],
    ['"a"{,2}', ['', 'a', 'aa'], ['aaa']],
    ['"a"{1,3}', ['a', 'aa', 'aaa'], ['', 'aaaa']],
    ['"a"{0}', [''], ['a']],
    ['"a"+?', ['', 'a', 'aa'], ['b']],
    ['[a-c^x-]', ['a', 'b', 'c', '^', 'x', '-'], ['d', 'y', '']],
    ['[^a-c]', ['d', 'é', '😀'], ['a', 'b', 'c', 'dd']],
    ['.', ['a', 'é', '😀'], ['', 'aa']],
    ['"\\x41\\u00e9\\U0001F600\\n\\r\\t\\"\\\\"', ['Aé😀\n\r\t"\\'], ['A']],
    ['[\\[\\]\\^\\-]', ['[', ']', '^', '-'], ['\\', 'a']],
    ['"é😀"', ['é😀'], ['é']],
    ['( "a" |\n "b" ) # why\n', ['a', 'b'], ['', 'ab']],
    ['"a" |\n  "b"', ['a', 'b'], ['']],
    ['x-1 | x_2\nx-1 ::= "p"\nx_2 ::=\n  "q"', ['p', 'q'], ['x']],
    ['"a" root?', ['a', 'aaa'], ['', 'b']],
  ])('%s', (body, takes, refuses) => {
    const grammar = compiler.gbnf(source(body));
    for (const text of takes) expect(grammar.matches(bytes(text)), text).toBe(true);
    for (const text of refuses) expect(grammar.matches(bytes(text)), text).toBe(false);
  });

  it.each([
    ['', 'there is no rule named "root"'],
    ['a ::= "x"', 'there is no rule named "root"'],
    ['= "x"', 'line 1: expected the name of a rule'],
    ['root = "x"', 'line 1: expected "::=" after "root"'],
    ['# one\n\nroot ::= "x"\nroot ::= "y"', 'line 4: the rule "root" is defined twice'],
    ['root ::= "x"\n  | b\n', 'line 2: expected the name of a rule'],
    ['root ::= a |\n b', 'line 1: the rule "a" is not defined'],
    ['root ::= "a" ) "b"', 'line 1: expected the end of the line'],
    ['root ::= ("a"', 'line 1: expected ")"'],
    ['root ::= <[5]>', 'line 1: tokens by id are not supported; write their text'],
    ['root ::= !<[5]>', 'line 1: tokens by id are not supported; write their text'],
    ['root ::= "a"{x}', 'line 1: expected a repetition such as {2} or {1,3}'],
    ['root ::= "a"{}', 'line 1: a repetition with bounds that are none'],
    ['root ::= "a"{,}', 'line 1: a repetition with bounds that are none'],
    ['root ::= "a"{3,2}', 'line 1: a repetition with bounds that are none'],
    ['root ::= [b-a]', 'line 1: a class with its bounds swapped'],
    ['root ::= "a', 'line 1: a literal or a class without its end'],
    ['root ::= "a\n"', 'line 1: a literal or a class without its end'],
    ['root ::= [a', 'line 1: a literal or a class without its end'],
    ['root ::= "\\q"', 'line 1: the escape \\q is not known'],
    ['root ::= "\\x4"', 'line 1: a bad hexadecimal escape'],
    ['root ::= "\\u004g"', 'line 1: a bad hexadecimal escape'],
    ['root ::= "\\U00110000"', 'line 1: a bad hexadecimal escape'],
    ['root ::= root "a"', 'root'],
  ])('%j is refused with its line', (text, reason) => {
    expect(why(() => compiler.gbnf(text))).toContain(reason);
  });
});

describe('an answer', () => {
  it('is of the form that is asked for', () => {
    const takes = (form: Parameters<typeof compiler.answer>[0]) =>
      ['{}', '1', 'a', 'b', '[]'].filter((t) => compiler.answer(form).matches(bytes(t)));
    expect(takes({ schema: { type: 'integer' } })).toEqual(['1']);
    expect(takes({ regex: '[ab]' })).toEqual(['a', 'b']);
    expect(takes({ choice: ['a', '1'] })).toEqual(['1', 'a']);
    expect(takes({ gbnf: 'root ::= "b"' })).toEqual(['b']);
    expect(takes({ object: true })).toEqual(['{}']);
    const ignored: string[] = [];
    const schema = { type: 'string', pattern: '(?=a)' };
    expect(why(() => compiler.answer({ schema }))).toContain('lookahead');
    compiler.answer({ schema, onUnsupported: (...given: unknown[]) => void ignored.push(String(given[0])) } as never);
    expect(ignored).toHaveLength(1);
    expect(why(() => compiler.choice([]))).toContain('0 texts, must be 1 to');
  });
});

describe('a schema', () => {
  const takes = (schema: unknown, ...texts: string[]) => texts.filter((t) => compiler.jsonSchema(schema).matches(bytes(t)));
  const all = ['null', 'true', '0', '1', '"a"', '[]', '[1]', '{}', '{"a": 1}', '{"a": 1, "b": 2}'];
  it('that is the opposite of another takes what that does not', () => {
    const not = (schema: object) => takes({ not: schema }, ...all);
    const without = (...gone: string[]) => all.filter((t) => !gone.includes(t));
    expect(not({ type: 'object', maxProperties: 0 })).toEqual(without('{}'));
    expect(not({ type: 'array', minItems: 1 })).toEqual(without('[1]'));
    expect(not({ const: [] })).toEqual(without('[]'));
    expect(not({ const: {} })).toEqual(without('{}'));
    expect(not({ enum: ['a', 1, null] })).toEqual(without('null', '1', '"a"'));
    expect(not({ type: ['string', 'null'] })).toEqual(without('null', '"a"'));
  });

  it('of one alone knows apart ranges that meet', () => {
    const of = (a: object, b: object, ...texts: string[]) =>
      takes(
        {
          oneOf: [
            { type: 'number', ...a },
            { type: 'number', ...b },
          ],
        },
        ...texts,
      );
    expect(of({ exclusiveMaximum: 5 }, { minimum: 5 }, '4', '5', '6')).toEqual(['4', '5', '6']);
    expect(of({ maximum: 5 }, { exclusiveMinimum: 5 }, '4', '5', '6')).toEqual(['4', '5', '6']);
    expect(of({ exclusiveMaximum: 5 }, { exclusiveMinimum: 5 }, '4', '5', '6')).toEqual(['4', '6']);
    expect(of({ maximum: 4 }, { minimum: 5 }, '4', '5', '6')).toEqual(['4', '5', '6']);
  });
});

describe('a reference', () => {
  const integer = { $anchor: 'x', type: 'integer' };
  const takes = (schema: object) => ['1', '"a"', 'null'].filter((t) => compiler.jsonSchema(schema).matches(bytes(t)));
  const inside = (keyword: string, value: unknown) => ({ $ref: '#x', $defs: { d: { [keyword]: value } } });
  it.each([
    'additionalProperties',
    'propertyNames',
    'items',
    'additionalItems',
    'contains',
    'not',
    'if',
    'then',
    'else',
    'unevaluatedProperties',
    'unevaluatedItems',
  ])('finds an anchor in the schema of %s', (keyword) => expect(takes(inside(keyword, integer))).toEqual(['1']));
  it.each(['allOf', 'anyOf', 'oneOf', 'prefixItems', 'items'])('finds an anchor among those of %s', (keyword) => {
    expect(takes(inside(keyword, [true, integer]))).toEqual(['1']);
  });
  it.each(['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas', 'dependencies'])(
    'finds an anchor by a name of %s',
    (keyword) => {
      expect(takes(inside(keyword, { k: integer }))).toEqual(['1']);
    },
  );
  it.each(['enum', 'const', 'examples', 'default', 'other'])('finds none in %s, which holds no schemas', (keyword) => {
    expect(why(() => takes(inside(keyword, [integer])))).toContain('"#x" does not exist');
    expect(why(() => takes(inside(keyword, integer)))).toContain('"#x" does not exist');
  });

  it('follows pointers, names and bases', () => {
    const $defs = {
      'a/b': { type: 'integer' },
      'c~d': { type: 'null' },
      'e%f': { type: 'string' },
      list: { anyOf: [{ type: 'null' }, { type: 'integer' }] },
    };
    const to = ($ref: string) => takes({ $ref, $defs });
    expect(to('#/$defs/a~1b')).toEqual(['1']);
    expect(to('#/$defs/c~0d')).toEqual(['null']);
    expect(to('#/$defs/e%25f')).toEqual(['"a"']);
    expect(to('#/$defs/e%f')).toEqual(['"a"']);
    expect(to('#/%24defs/list/anyOf/1')).toEqual(['1']);
    for (const none of ['#/$defs/x', '#/$defs/list/anyOf/2', '#/type', '#nobody'])
      expect(
        why(() => to(none)),
        none,
      ).toContain(`"${none}" does not exist`);
    for (const other of ['https://a.example/b', 'b.json', '/b#/x'])
      expect(
        why(() => to(other)),
        other,
      ).toContain('leads to another document');
    const bases = {
      ...{ $id: 'https://a.example/one', $ref: 'two#/$defs/e' },
      $defs: { d: { $id: 'two', $defs: { e: { $ref: '#y' }, f: { $anchor: 'y', type: 'integer' } } }, g: { $anchor: 'y', type: 'null' } },
    };
    expect(takes(bases)).toEqual(['1']);
    expect(takes({ ...bases, $ref: '#y' })).toEqual(['null']);
    expect(takes({ ...bases, $ref: 'https://a.example/two#y' })).toEqual(['1']);
    expect(takes({ ...bases, $ref: '/one#/$defs/g' })).toEqual(['null']);
    expect(takes({ $dynamicRef: '#z', $defs: { d: { $dynamicAnchor: 'z', type: 'null' } } })).toEqual(['null']);
  });
});

/** Taken where a validator of JSON Schema takes them too: all arrays and numbers of a small kind. */
describe('arrays and numbers', () => {
  const values = ['1', '2', '"a"'];
  const arrays = textsOf('012', 4).map((t) => `[${[...t].map((i) => values[Number(i)]).join(', ')}]`);
  const taken = (schema: object, texts: readonly string[]) => texts.filter((t) => compiler.jsonSchema(schema).matches(bytes(t)));
  const unlike = (a: unknown[]) => new Set(a.map((v) => JSON.stringify(v))).size === a.length;
  it.each<[object, (a: unknown[]) => boolean]>([
    [{ items: { enum: [1, 2, 'a'] } }, () => true],
    [{ items: { enum: [1, 2] } }, (a) => !a.includes('a')],
    [{ minItems: 1, maxItems: 2, items: { enum: [1, 2, 'a'] } }, (a) => a.length >= 1 && a.length <= 2],
    [{ minItems: 3, items: { enum: [1, 2, 'a'] } }, (a) => a.length >= 3],
    [{ maxItems: 0 }, (a) => a.length === 0],
    [{ uniqueItems: true, items: { enum: [1, 2, 'a'] } }, unlike],
    [{ uniqueItems: true, minItems: 2, maxItems: 2, items: { enum: [1, 2, 'a'] } }, (a) => unlike(a) && a.length === 2],
    [{ uniqueItems: true, maxItems: 1 }, (a) => a.length <= 1],
    [{ uniqueItems: true, items: { enum: [1, 1.0, 2] } }, (a) => unlike(a) && !a.includes('a')],
    [{ prefixItems: [{ const: 1 }], items: { enum: [2, 'a'] } }, (a) => (a.length === 0 || a[0] === 1) && !a.slice(1).includes(1)],
    [{ prefixItems: [{ const: 1 }, { const: 2 }], items: false }, (a) => a.length <= 2 && a.every((v, i) => v === i + 1)],
    [
      { prefixItems: [{ const: 1 }], minItems: 2, maxItems: 3, items: { enum: [1, 2, 'a'] } },
      (a) => a[0] === 1 && a.length >= 2 && a.length <= 3,
    ],
    [{ contains: { const: 1 }, items: { enum: [1, 2, 'a'] } }, (a) => a.includes(1)],
    [
      { contains: { const: 1 }, minContains: 2, maxContains: 3, items: { enum: [1, 2, 'a'] } },
      (a) => [2, 3].includes(a.filter((v) => v === 1).length),
    ],
    [
      { contains: { type: 'integer' }, minContains: 0, maxContains: 1, items: { enum: [1, 2, 'a'] } },
      (a) => a.filter((v) => v !== 'a').length <= 1,
    ],
    [{ contains: { const: 1 }, minItems: 3, maxItems: 3, items: { enum: [1, 2, 'a'] } }, (a) => a.includes(1) && a.length === 3],
  ])('%j', (schema, right) => {
    expect(taken({ type: 'array', ...schema }, arrays)).toEqual(arrays.filter((t) => right(JSON.parse(t) as unknown[])));
  });

  const numbers = [
    '-3',
    '-2.5',
    '-2',
    '-0.5',
    '0',
    '0.1',
    '0.25',
    '0.3',
    '0.5',
    '1',
    '1.5',
    '2',
    '2.5',
    '3',
    '5',
    '9.75',
    '10',
    '15',
    '100',
  ];
  it.each<[object, (n: number) => boolean]>([
    [{ type: 'integer' }, Number.isInteger],
    [{ type: 'integer', minimum: -2, maximum: 10 }, (n) => Number.isInteger(n) && n >= -2 && n <= 10],
    [{ type: 'integer', exclusiveMinimum: -2, exclusiveMaximum: 10 }, (n) => Number.isInteger(n) && n > -2 && n < 10],
    [{ type: 'number', minimum: -2.5, maximum: 2.5 }, (n) => n >= -2.5 && n <= 2.5],
    [{ type: 'number', exclusiveMinimum: -2.5, exclusiveMaximum: 2.5 }, (n) => n > -2.5 && n < 2.5],
    [{ type: 'number', minimum: 0.25 }, (n) => n >= 0.25],
    [{ type: 'number', exclusiveMaximum: 0 }, (n) => n < 0],
    [{ type: 'integer', multipleOf: 5 }, (n) => n % 5 === 0],
    [{ type: 'integer', multipleOf: 3, minimum: 0 }, (n) => n >= 0 && n % 3 === 0],
    [{ type: 'number', multipleOf: 0.5 }, (n) => Number.isInteger(n * 2)],
    [{ type: 'number', multipleOf: 0.25, minimum: 0 }, (n) => n >= 0 && Number.isInteger(n * 4)],
    [{ type: 'number', multipleOf: 2.5 }, (n) => Number.isInteger(n / 2.5)],
    [{ type: 'number', multipleOf: 1e1 }, (n) => n % 10 === 0],
    [{ enum: [1.5, 2, -3] }, (n) => [1.5, 2, -3].includes(n)],
    [{ type: 'number', not: { enum: [1, 2.5] } }, (n) => n !== 1 && n !== 2.5],
  ])('%j', (schema, right) => {
    expect(taken(schema, numbers)).toEqual(numbers.filter((t) => right(Number(t))));
  });
});
