import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Piece, ToolParser } from '../../openai/tools.ts';

interface Read {
  text: string;
  calls: { name: string; arguments: string }[];
  /** Of calls whose arguments are not whole. */
  cut?: number[];
}

function collect(pieces: Piece[]): Read {
  const read: Read = { text: '', calls: [] };
  for (const p of pieces) {
    if (p.kind === 'text') read.text += p.text;
    else if (p.kind === 'name') {
      expect(p.call).toBe(read.calls.length);
      read.calls.push({ name: p.name, arguments: '' });
    } else {
      expect(p.call).toBe(read.calls.length - 1);
      if (p.kind === 'arguments') read.calls[p.call].arguments += p.text;
      else read.cut = [...(read.cut ?? []), p.call];
    }
  }
  return read;
}

function read(pieces: string[]): Read {
  const parser = new ToolParser();
  return collect([...pieces.flatMap((p) => parser.push(p)), ...parser.flush()]);
}

const call = (name: string, args: string) => `<tool_call>\n{"name": "${name}", "arguments": ${args}}\n</tool_call>`;

/** What the model wrote, and what must come of it. */
const cases: [title: string, text: string, expected: Read][] = [
  ['no call', 'Hello, 2 < 3 and <tool>.', { text: 'Hello, 2 < 3 and <tool>.', calls: [] }],
  ['one call', call('f', '{"a": 1}'), { text: '', calls: [{ name: 'f', arguments: '{"a": 1}' }] }],
  [
    'text before and after',
    `Let me see.\n${call('f', '{}')}\nDone.`,
    { text: 'Let me see.\nDone.', calls: [{ name: 'f', arguments: '{}' }] },
  ],
  [
    'two calls',
    `${call('f', '{"a": [1, {"b": "}"}]}')}\n${call('g', '{"q": "\\"]</tool_call>"}')}`,
    {
      text: '',
      calls: [
        { name: 'f', arguments: '{"a": [1, {"b": "}"}]}' },
        { name: 'g', arguments: '{"q": "\\"]</tool_call>"}' },
      ],
    },
  ],
  [
    'compact',
    '<tool_call>{"name":"f","arguments":{"a":-1.5e3}}</tool_call>',
    { text: '', calls: [{ name: 'f', arguments: '{"a":-1.5e3}' }] },
  ],
  [
    'keys in another order',
    '<tool_call>\n{"arguments": {"a": 1}, "name": "f"}\n</tool_call>',
    { text: '', calls: [{ name: 'f', arguments: '{"a":1}' }] },
  ],
  ['no arguments', '<tool_call>{"name": "f"}</tool_call>', { text: '', calls: [{ name: 'f', arguments: '{}' }] }],
  [
    'arguments as text',
    '<tool_call>{"name": "f", "arguments": "{\\"a\\":1}"}</tool_call>',
    { text: '', calls: [{ name: 'f', arguments: '{"a":1}' }] },
  ],
  [
    'an escaped name',
    '<tool_call>{"name": "caf\\u00e9", "arguments": {}}</tool_call>',
    { text: '', calls: [{ name: 'café', arguments: '{}' }] },
  ],
  ['no JSON', 'a \n<tool_call>oops</tool_call> b', { text: 'a \n<tool_call>oops</tool_call> b', calls: [] }],
  ['JSON without a name', '<tool_call>{"x": 1}</tool_call>', { text: '<tool_call>{"x": 1}</tool_call>', calls: [] }],
  ['never closed', '<tool_call>\n{"na', { text: '<tool_call>\n{"na', calls: [] }],
  [
    'cut off in the arguments',
    '<tool_call>\n{"name": "f", "arguments": {"a": "b',
    { text: '', calls: [{ name: 'f', arguments: '{"a": "b' }], cut: [0] },
  ],
  ['closing tag missing', '<tool_call>\n{"name": "f", "arguments": {}}', { text: '', calls: [{ name: 'f', arguments: '{}' }] }],
  [
    'arguments that break',
    '<tool_call>\n{"name": "f", "arguments": {"a": 1]}\n</tool_call>',
    { text: ']}\n</tool_call>', calls: [{ name: 'f', arguments: '{"a": 1' }], cut: [0] },
  ],
];

describe('ToolParser', () => {
  it.each(cases)('%s: in one piece, and in two pieces cut anywhere', (_, text, expected) => {
    expect(read([text])).toEqual(expected);
    for (let cut = 1; cut < text.length; cut++) expect(read([text.slice(0, cut), text.slice(cut)]), `cut at ${cut}`).toEqual(expected);
    expect(read([...text])).toEqual(expected);
  });

  const json = fc.jsonValue({ maxDepth: 3 }).filter((v) => typeof v === 'object' && v !== null && !Array.isArray(v));
  const name = fc.stringMatching(/^[a-zA-Z0-9_-]{1,20}$/);
  const block = fc.oneof(
    fc.tuple(name, json, fc.constantFrom(0, 1)).map(([n, a, indent]) => call(n, JSON.stringify(a, null, indent))),
    fc.constantFrom('text', ' ', '\n', '<tool_', '<tool_call>', '</tool_call>', '{"name": "x"', '"', '{', ']', '<'),
  );

  it('reads anything the same however it is cut', () => {
    fc.assert(
      fc.property(fc.array(block, { maxLength: 6 }), fc.array(fc.nat(200), { maxLength: 20 }), (blocks, cuts) => {
        const text = blocks.join('');
        const at = [...new Set([0, text.length, ...cuts.map((c) => c % (text.length + 1))])].sort((a, b) => a - b);
        expect(read(at.slice(1).map((end, i) => text.slice(at[i], end)))).toEqual(read([text]));
      }),
      { numRuns: 3000 },
    );
  });

  it('gives back every well-formed call exactly', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(name, json), { minLength: 1, maxLength: 4 }), (calls) => {
        const text = calls.map(([n, a]) => call(n, JSON.stringify(a))).join('\n');
        expect(read([...text])).toEqual({ text: '', calls: calls.map(([n, a]) => ({ name: n, arguments: JSON.stringify(a) })) });
      }),
    );
  });

  it('streams: the name before the arguments are there, the arguments before they end', () => {
    const parser = new ToolParser();
    expect(parser.push('<tool_call>{"name": "f", "arguments": {')).toEqual([
      { kind: 'name', call: 0, name: 'f' },
      { kind: 'arguments', call: 0, text: '{' },
    ]);
    expect(parser.push('"a": 1')).toEqual([{ kind: 'arguments', call: 0, text: '"a": 1' }]);
    expect(parser.complete).toBe(false);
    expect(parser.push('}}')).toEqual([{ kind: 'arguments', call: 0, text: '}' }]);
    expect(parser.complete).toBe(true);
  });
});
