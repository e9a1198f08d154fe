/** JSON Schema's own test suite (draft 2020-12), and llama.cpp's grammar cases: what others say that a schema takes. */

import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { createGrammarCompiler, type Grammar, GrammarError } from '../../models/grammar/index.ts';
import { dataPath, missing, readJson } from '../models/data.ts';
import { bytes, dumps, small } from './vocabularies.ts';

const compiler = createGrammarCompiler(small, { grammars: 1 });

interface Group {
  description: string;
  schema: unknown;
  tests: { description: string; data: unknown; valid: boolean }[];
}

/** A value with the keys of its objects in every order (of small objects), because a grammar takes the schema's. */
function* orders(v: unknown): Generator<unknown> {
  if (Array.isArray(v)) yield* product(v.map((x) => [...orders(x)]));
  else if (typeof v === 'object' && v !== null) {
    const entries = Object.entries(v);
    for (const order of entries.length > 4 ? [entries] : permutations(entries)) {
      for (const values of product(order.map(([, x]) => [...orders(x)]))) yield fromEntries(order.map(([k], i) => [k, values[i]]));
    }
  } else yield v;
}

const fromEntries = (list: [string, unknown][]) => {
  const out = {};
  for (const [k, value] of list) Object.defineProperty(out, k, { value, enumerable: true });
  return out;
};

function* product<T>(lists: T[][], at = 0, chosen: T[] = []): Generator<T[]> {
  if (at === lists.length) yield [...chosen];
  else for (const x of lists[at].slice(0, 24)) yield* product(lists, at + 1, [...chosen, x]);
}

function* permutations<T>(list: T[]): Generator<T[]> {
  if (list.length === 0) yield [];
  for (let i = 0; i < list.length; i++) for (const rest of permutations(list.toSpliced(i, 1))) yield [list[i], ...rest];
}

function takes(g: Grammar, value: unknown): boolean {
  for (const v of orders(value)) if (g.matches(bytes(dumps(v)))) return true;
  return false;
}

/** Files of the suite about keywords that are enforced: tests that run, of so many; the others meet a refusal by name. */
const files: [name: string, run: number, of: number][] = [
  ['additionalProperties', 21, 21],
  ['allOf', 30, 30],
  ['anyOf', 18, 18],
  ['boolean_schema', 18, 18],
  ['const', 54, 54],
  ['default', 7, 7],
  ['enum', 51, 51],
  ['exclusiveMaximum', 4, 4],
  ['exclusiveMinimum', 4, 4],
  ['infinite-loop-detection', 2, 2],
  ['items', 29, 29],
  ['maxItems', 6, 6],
  ['maxLength', 7, 7],
  ['maxProperties', 10, 10],
  ['maximum', 8, 8],
  ['minItems', 6, 6],
  ['minLength', 7, 7],
  ['minProperties', 10, 10],
  ['minimum', 11, 11],
  ['multipleOf', 9, 11],
  ['oneOf', 27, 27],
  ['pattern', 9, 12],
  ['patternProperties', 23, 25],
  ['prefixItems', 11, 11],
  ['properties', 28, 28],
  ['propertyNames', 22, 22],
  ['ref', 76, 79],
  ['required', 18, 18],
  ['type', 80, 80],
  ['optional/format/date', 81, 81],
  ['optional/format/date-time', 33, 33],
  ['optional/format/duration', 52, 52],
  ['optional/format/email', 27, 27],
  ['optional/format/hostname', 64, 64],
  ['optional/format/ipv4', 41, 41],
  ['optional/format/ipv6', 42, 42],
  ['optional/format/json-pointer', 40, 40],
  ['optional/format/time', 47, 47],
  ['optional/format/uri', 46, 46],
  ['optional/format/uuid', 28, 28],
];

/** Refusals of valid values that are by design: [test, why]. Every other valid value of a supported schema is taken. */
const narrower: [RegExp, string][] = [
  [/leap second/, 'no leap seconds'],
  [/case-insensitive/, 'T and Z in upper case only'],
  [/fifteen nines/, 'at most nine digits of a second'],
  [/quoted string .* local part|address-literal after the @/, 'no quoted local parts, no address literals'],
  [/A-label|Punycode|punycode|consecutive hyphens/, 'no two hyphens in a row, so no punycode'],
];
/** Values taken though invalid: [test, why]. */
const wider: [RegExp, string][] = [[/exceeds maximum overall length/, 'the length of a whole host name is not bounded']];

const suiteMissing = missing('structured/JSON-Schema-Test-Suite.tar.gz');

describe.skipIf(suiteMissing)(`JSON-Schema-Test-Suite${suiteMissing}`, () => {
  const read = (name: string): Group[] => {
    const path = `tests/draft2020-12/${name}.json`;
    const args = ['-xzOf', dataPath('structured/JSON-Schema-Test-Suite.tar.gz'), path];
    return JSON.parse(execFileSync('tar', args, { maxBuffer: 1 << 26 }).toString());
  };

  it.each(files)('%s', (name, runs, of) => {
    let run = 0;
    let total = 0;
    const wrong: string[] = [];
    for (const group of read(name)) {
      total += group.tests.length;
      let grammar: Grammar | undefined;
      try {
        grammar = compiler.jsonSchema(group.schema, { open: true });
      } catch (e) {
        if (!(e instanceof GrammarError)) throw e;
        if (!/no value satisfies/.test(e.message)) continue;
      }
      for (const test of group.tests) {
        const title = `${group.description}: ${test.description}`;
        const got = grammar !== undefined && takes(grammar, test.data);
        run++;
        if (got !== test.valid && !(test.valid ? narrower : wider).some(([r]) => r.test(title)))
          wrong.push(`${title}: ${got ? 'taken' : 'refused'}`);
      }
    }
    expect(wrong).toEqual([]);
    expect([run, total]).toEqual([runs, of]);
  });
});

describe.skipIf(suiteMissing)(`all required files of JSON-Schema-Test-Suite${suiteMissing}`, () => {
  it('most schemas are accepted, nothing invalid is ever taken, and few valid values are left out', () => {
    const tar = dataPath('structured/JSON-Schema-Test-Suite.tar.gz');
    const files = execFileSync('tar', ['-tzf', tar])
      .toString()
      .match(/^tests\/draft2020-12\/[^/\n]+\.json$/gm)!;
    const counts = { groups: 0, accepted: 0, values: 0, right: 0 };
    const unsound: string[] = [];
    for (const file of files) {
      const groups = JSON.parse(execFileSync('tar', ['-xzOf', tar, file], { maxBuffer: 1 << 26 }).toString()) as Group[];
      for (const group of groups) {
        counts.groups++;
        let grammar: Grammar | undefined;
        try {
          grammar = compiler.jsonSchema(group.schema, { open: true });
        } catch (e) {
          if (!(e instanceof GrammarError)) throw e;
          if (!/no value satisfies/.test(e.message)) continue;
        }
        counts.accepted++;
        for (const test of group.tests) {
          counts.values++;
          const got = grammar !== undefined && takes(grammar, test.data);
          if (got === test.valid) counts.right++;
          else if (got) unsound.push(`${file}: ${group.description}: ${test.description}`);
        }
      }
    }
    expect(unsound).toEqual([]);
    expect(counts.groups).toBe(383);
    expect(counts.accepted).toBeGreaterThanOrEqual(315); // the others need other documents, other vocabularies, or what no mask can know
    expect(counts.right / counts.values).toBeGreaterThan(0.97); // formats are enforced, and of evaluated parts less may be known
  });
});

interface Case {
  kind: string;
  name: string;
  schema: string;
  pass: string[];
  fail: string[];
}

const llamaMissing = missing('structured/llama.cpp-grammar-integration.json');

describe.skipIf(llamaMissing)(`llama.cpp's schema cases${llamaMissing}`, () => {
  const cases = llamaMissing
    ? []
    : (readJson('structured/llama.cpp-grammar-integration.json') as Case[]).filter((c) => c.kind === 'json_schema');
  /** There the empty schema means an object; here, as in JSON Schema, anything. */
  const anything = 'empty schema (object)';
  const unsupported = 'required props'; // uniqueItems

  it.each(cases.filter((c) => c.name !== anything).map((c) => [c.name, c] as const))('%s', (name, c) => {
    const make = () => compiler.jsonSchema(JSON.parse(c.schema), name === unsupported ? { onUnsupported: () => {} } : {});
    if (name === unsupported) expect(() => compiler.jsonSchema(JSON.parse(c.schema))).toThrow(/uniqueItems/);
    const grammar = make();
    for (const text of c.pass) expect(grammar.matches(bytes(spaced(text))), text).toBe(true);
    for (const text of c.fail) expect(grammar.matches(bytes(spaced(text))), text).toBe(false);
  });

  it('are there', () => expect(cases.length).toBeGreaterThan(30));

  /** Those texts with json.dumps's white space; what is no JSON stays as it is. */
  function spaced(text: string): string {
    try {
      const value = JSON.parse(text);
      return typeof value === 'object' ? dumps(value) : text;
    } catch {
      return text;
    }
  }
});
