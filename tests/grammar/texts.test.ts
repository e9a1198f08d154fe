/** Texts of patterns, of choices and of grammars in GBNF, with llama.cpp's own cases. */
import { describe, expect, it } from 'vitest';
import { createGrammarCompiler, GrammarError } from '../../models/grammar/index.ts';
import { missing, readJson } from '../models/data.ts';
import { bytes, small } from './vocabularies.ts';

const compiler = createGrammarCompiler(small);
const gbnf = (source: string) => compiler.gbnf(source);
const takes = (g: ReturnType<typeof gbnf>, text: string) => g.matches(bytes(text));

describe('a pattern', () => {
  it('is matched by the whole text', () => {
    const g = compiler.regex('\\d{3}-\\d{4}|none');
    expect(['555-1234', 'none', 'none.', ' none', '555-12345'].map((t) => takes(g, t))).toEqual([true, true, false, false, false]);
    expect(takes(compiler.regex('^[aé]+$'), 'éa')).toBe(true);
  });

  it('is refused when it cannot be followed', () => expect(() => compiler.regex('(?=a)b')).toThrow(/lookahead/));
});

describe('a choice', () => {
  it('is one of the texts, byte for byte', () => {
    const g = compiler.choice(['yes', 'yes, "and"\n', 'é', '']);
    expect(['yes', 'yes, "and"\n', 'é', '', 'ye', 'yes '].map((t) => takes(g, t))).toEqual([true, true, true, true, false, false]);
  });

  it('has texts', () => expect(() => compiler.choice([])).toThrow(GrammarError));
});

describe('a grammar', () => {
  const json = `
# JSON, with the white space one likes
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array  ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\\"" ([^"\\\\\\x7F\\x00-\\x1F] | "\\\\" (["\\\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ws
ws ::= | " " | "\\n" [ \\t]{0,20}
`;
  it('of JSON takes JSON', () => {
    const g = gbnf(json);
    for (const text of ['{}', '{"a": [1, -2.5, {"é\\u00e9": null}]}', '{\n  "x": "\\""}']) expect(takes(g, text), text).toBe(true);
    for (const text of ['', '{', '[1]', '{"a": 01}', '{"a": "\u0001"}', '{"a": 1,}']) expect(takes(g, text), text).toBe(false);
  });

  it.each([
    ['root ::= "a" root | "a"', ['a', 'aaaa'], ['', 'ab']],
    ['root ::= [^a-c] . "\\u00e9\\U0001F600\\x41"', ['d\né😀A', '日日é😀A'], ['adé😀A', 'd\néA']],
    ['root ::= ("a"? "b"?)* "c"{2}', ['cc', 'abbacc'], ['c', 'abc']],
    ['root ::= "a"{,2} [\\]^-]{1,}', ['a]', '^-', 'aa-'], ['aaa-', 'aa']],
    ['root ::= item*\nitem ::= ws "x"\nws ::= [ ]*', ['', 'x', ' x  xx'], [' ', 'x ']],
    ['root ::= "" | "a" |\n  "b" # and\n\nother ::= "z"\n', ['', 'a', 'b'], ['z', 'ab']],
  ])('%j', (source, pass, fail) => {
    const g = gbnf(source);
    for (const text of pass) expect(takes(g, text), text).toBe(true);
    for (const text of fail) expect(takes(g, text), text).toBe(false);
  });

  it.each([
    ['', 'there is no rule named "root"'],
    ['root ::= a', 'line 1: the rule "a" is not defined'],
    ['root ::= "a"\nroot ::= "b"', 'line 2: the rule "root" is defined twice'],
    ['root ::= "a', 'line 1: a literal or a class without its end'],
    ['root ::= ("a"', 'line 1: expected ")"'],
    ['root = "a"', 'line 1: expected "::=" after "root"'],
    ['root ::= "a" }', 'line 1: expected the end of the line'],
    ['root ::= <[5]>', 'tokens by id are not supported'],
    ['root ::= "a"{3,1}', 'bounds that are none'],
    ['root ::= [z-a]', 'bounds swapped'],
    ['root ::= "\\q"', 'the escape \\q is not known'],
    ['root ::= root "a" | "b"', 'left recursion'],
    ['root ::= "a" root', 'no value satisfies'],
    ['root ::= "a"{900000}', 'more than'],
    [`root ::= ${'('.repeat(100)}"a"${')'.repeat(100)}`, 'nested too deep'],
  ])('%j is refused: %s', (source, why) => {
    expect(() => gbnf(source)).toThrow(GrammarError);
    expect(() => gbnf(source)).toThrow(why);
  });

  const why = missing('structured/llama.cpp-grammar-integration.json');
  const cases = why
    ? []
    : (readJson('structured/llama.cpp-grammar-integration.json') as {
        kind: string;
        name: string;
        grammar: string;
        pass: string[];
        fail: string[];
      }[]);
  it.skipIf(why)(`takes and refuses what llama.cpp does${why}`, () => {
    const own = cases.filter((c) => c.kind === 'gbnf');
    expect(own.length).toBe(14);
    for (const c of own) {
      if (c.name.endsWith('with tokens')) {
        expect(() => gbnf(c.grammar)).toThrow('tokens by id');
        continue;
      }
      for (const text of c.pass) expect(takes(gbnf(c.grammar), text), `${c.name}: ${text}`).toBe(true);
      for (const text of c.fail) expect(takes(gbnf(c.grammar), text), `${c.name}: ${text}`).toBe(false);
    }
  });
});
