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
