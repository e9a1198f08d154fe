/** Tool calls as families write them, read whole and in pieces of every size: the same calls, and text where there is none. */
import { describe, expect, it } from 'vitest';
import { ToolParser } from '../../openai/tools.ts';

interface Read {
  text: string;
  calls: [name: string, args: string][];
  /** Of calls that ended without their arguments being whole. */
  cut: number[];
}

function read(pieces: string[]): Read {
  const parser = new ToolParser({ tools: [{ name: 'f', parameters: { properties: { s: { type: 'string' } } } }, { name: 'g' }] });
  const out: Read = { text: '', calls: [], cut: [] };
  for (const p of [...pieces.flatMap((p) => parser.push(p)), ...parser.flush()]) {
    if (p.kind === 'text') out.text += p.text;
    else if (p.kind === 'name') out.calls.push([p.name, '']);
    else if (p.kind === 'arguments') out.calls[p.call][1] += p.text;
    else if (p.kind === 'cut') out.cut.push(p.call);
  }
  return out;
}

const py = (body: string) => `<|tool_call_start|>${body}<|tool_call_end|>`;
const xml = (body: string) => `<tool_call>\n<function=f>\n${body}</function>\n</tool_call>`;

const cases: [what: string, text: string, calls: [string, unknown][], rest: string][] = [
  [
    'python: words and numbers',
    py('[f(a=1, b=-2.5e3, c=True, d=False, e=None)]'),
    [['f', { a: 1, b: -2500, c: true, d: false, e: null }]],
    '',
  ],
  ['python: lists in lists', py('[f(a=[1, [2, "x"], []])]'), [['f', { a: [1, [2, 'x'], []] }]], ''],
  ['python: dictionaries', py(`[f(a={'k': [1], "l": {}, 'm': None})]`), [['f', { a: { k: [1], l: {}, m: null } }]], ''],
  ['python: tuples are lists', py('[f(a=(1, 2))]'), [['f', { a: [1, 2] }]], ''],
  ['python: escapes', py(String.raw`[f(s="a\n\"\u00e9\x41\\", t='it\'s')]`), [['f', { s: 'a\n"éA\\', t: "it's" }]], ''],
  [
    'python: no arguments, and two calls',
    py('[f(), g(x=1)]'),
    [
      ['f', {}],
      ['g', { x: 1 }],
    ],
    '',
  ],
  ['python: text before and after', `Look. ${py('[f(a=1)]')} Done.`, [['f', { a: 1 }]], 'Look.  Done.'],
  [
    'xml: text as it is, other values as JSON',
    xml('<parameter=s>\n12\n</parameter>\n<parameter=n>\n12\n</parameter>\n'),
    [['f', { s: '12', n: 12 }]],
    '',
  ],
  [
    'xml: words, lists, lines',
    xml('<parameter=a>\nTrue\n</parameter>\n<parameter=b>\n[1, {"c": 2}]\n</parameter>\n<parameter=c>\none\ntwo\n</parameter>\n'),
    [['f', { a: true, b: [1, { c: 2 }], c: 'one\ntwo' }]],
    '',
  ],
  ['xml: none is null', xml('<parameter=a>\nNone\n</parameter>\n'), [['f', { a: null }]], ''],
  ['xml: no arguments', xml(''), [['f', {}]], ''],
  [
    'gemma: values',
    '<start_function_call>call:f{a:1,s:<escape>x, y}<escape>,l:[1,<escape>b<escape>],o:{k:true}}<end_function_call>',
    [['f', { a: 1, s: 'x, y}', l: [1, 'b'], o: { k: true } }]],
    '',
  ],
]; // prettier-ignore

describe.each(cases)('%s', (_, text, calls, rest) => {
  const check = ({ text: left, calls: got }: Read) => {
    expect(got.map(([name, args]) => [name, JSON.parse(args)])).toEqual(calls);
    expect(left.replace(/\s+/g, ' ').trim()).toBe(rest.replace(/\s+/g, ' '));
  };
  it('whole', () => check(read([text])));
  it.each([1, 2, 3, 7])('in pieces of %i', (n) => check(read(text.match(new RegExp(`[\\s\\S]{1,${n}}`, 'g')) ?? [])));
});

/** Calls of the families that have a tag, with what none of it may reach the user. */
const tagged: [what: string, text: string][] = [
  ...cases.map(([what, text]): [string, string] => [what, text]),
  ['hermes', 'Look. <tool_call>\n{"name": "f", "arguments": {"s": "}</x", "n": [1, {}]}}\n</tool_call>'],
  ['llama', '<|python_tag|>{"name": "f", "parameters": {"s": "a", "n": 1}}'],
  ['bare JSON', '{"name": "f", "arguments": {"s": "a", "n": 1}}'],
  ['mistral', '[TOOL_CALLS] [{"name": "f", "arguments": {"s": "a"}}, {"name": "g", "arguments": {"n": 1}}]'],
  ['mistral with [ARGS]', '[TOOL_CALLS]f[ARGS]{"s": "a"}[TOOL_CALLS]g[ARGS]{"n": 1}'],
  ['granite', '<|tool_call|>[{"name": "f", "arguments": {"s": "a"}}, {"name": "g", "arguments": {}}]'],
];
/** What may still be anything where a text ends with it. */
const UNDECIDED = /^(?:[<[].?|\{(?:"n?a?m?e?"?)?)?$/;

it.each(tagged)('%s: cut off anywhere, a call does not look finished, and none of it is text', (_, text) => {
  const whole = read([text]);
  expect(whole.cut).toEqual([]);
  for (let at = 1; at < text.length; at++) {
    const { text: left, calls, cut } = read([text.slice(0, at)]);
    const said = whole.text.startsWith(left.trimEnd()) ? '' : left.replace(/^Look\. ?/, '');
    expect(said, `cut at ${at}`).toMatch(UNDECIDED);
    calls.forEach(([name, args], i) => {
      expect(name).toBe(whole.calls[i][0]);
      if (cut.includes(i)) expect(i).toBe(calls.length - 1);
      else expect(args, `cut at ${at}`).toBe(whole.calls[i][1]);
    });
  }
});

it.each([
  ['python: an argument without a name', py('[f(1)]')],
  ['python: a word that is none', py('[f(a=yes)]')],
  ['xml: no function', '<tool_call>\nhello\n</tool_call>'],
])('%s has a call whose arguments are not whole, or none: nothing of it is invented', (_, text) => {
  for (const pieces of [[text], [...text]]) {
    const { calls } = read(pieces);
    for (const [name, args] of calls) {
      expect(name).toBe('f');
      expect(args).not.toMatch(/1|yes|hello/);
    }
  }
});

it('what is no call is given back as soon as that is known, not at the end', () => {
  const parser = new ToolParser({ tools: [{ name: 'f' }] });
  const said = parser.push(`${xml('<parameter=s>\n1\n</parameter>\n')} and then a long text`);
  expect(
    said
      .filter((p) => p.kind === 'text')
      .map((p) => (p.kind === 'text' ? p.text : ''))
      .join(''),
  ).toContain('and then a long');
});
