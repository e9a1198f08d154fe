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
    if (p.kind === 'text' || p.kind === 'reasoning') read.text += p.text;
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
  const parser = new ToolParser({ tools: [{ name: 'f' }, { name: 'g', parameters: { properties: { s: { type: 'string' } } } }] });
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
  ['cut off before its arguments', 'Wait.\n<tool_call>\n{"na', { text: 'Wait.', calls: [] }],
  ['never closed, and no call', '<tool_call> is a tag', { text: '<tool_call> is a tag', calls: [] }],
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
  ['bare JSON', '{"name": "f", "arguments": {"a": 1}}', { text: '', calls: [{ name: 'f', arguments: '{"a": 1}' }] }],
  [
    'bare JSON in a code block, laid out',
    '```json\n{\n  "name": "f",\n  "arguments": {\n    "a": "`}"\n  }\n}\n```',
    { text: '', calls: [{ name: 'f', arguments: '{\n    "a": "`}"\n  }' }] },
  ],
  [
    'bare JSON, a call a line',
    '{"name": "f", "arguments": {}}\n{"name": "g", "parameters": {"b": []}}\n',
    {
      text: '',
      calls: [
        { name: 'f', arguments: '{}' },
        { name: 'g', arguments: '{"b": []}' },
      ],
    },
  ],
  [
    'bare JSON in a list, then text',
    '```\n[{"name": "f", "arguments": {}}, {"name": "g"}]\n```\nDone.',
    {
      text: 'Done.',
      calls: [
        { name: 'f', arguments: '{}' },
        { name: 'g', arguments: '{}' },
      ],
    },
  ],
  ['JSON of no tool', '{"name": "Ada", "arguments": {"a": 1}}', { text: '{"name": "Ada", "arguments": {"a": 1}}', calls: [] }],
  ['JSON of another form', '```json\n{"name": "f", "age": 3}\n```', { text: '```json\n{"name": "f", "age": 3}\n```', calls: [] }],
  ['code', '```js\nf();\n```', { text: '```js\nf();\n```', calls: [] }],
  ['bare JSON after text is text', 'See {"name": "f", "arguments": {}}', { text: 'See {"name": "f", "arguments": {}}', calls: [] }],
  ['bare JSON cut off before its arguments', '{"name": "f", "arg', { text: '', calls: [] }],
  [
    'bare JSON cut off in them',
    '```json\n{"name": "f", "arguments": {"a',
    { text: '', calls: [{ name: 'f', arguments: '{"a' }], cut: [0] },
  ],
  ['bare JSON cut off in its name', '{"name": "', { text: '', calls: [] }],
  ['JSON of no tool, cut off', '{"name": "Ad', { text: '{"name": "Ad', calls: [] }],
  ['a short text', '{"n', { text: '{"n', calls: [] }],
  [
    'Llama 3',
    '{"type": "function", "name": "f", "parameters": {"a": 1}}; {"name": "g", "parameters": {}}',
    {
      text: '',
      calls: [
        { name: 'f', arguments: '{"a": 1}' },
        { name: 'g', arguments: '{}' },
      ],
    },
  ],
  [
    'Llama 3 after its tag',
    'Look: <|python_tag|>{"name": "h", "parameters": {"a": 1}}',
    { text: 'Look:', calls: [{ name: 'h', arguments: '{"a": 1}' }] },
  ],
  ['Python after its tag', '<|python_tag|>print(1)', { text: '<|python_tag|>print(1)', calls: [] }],
  [
    'Mistral, a list',
    '[TOOL_CALLS] [{"name": "f", "arguments": {"a": "]"}}, {"name": "h", "arguments": {}}]',
    {
      text: '',
      calls: [
        { name: 'f', arguments: '{"a": "]"}' },
        { name: 'h', arguments: '{}' },
      ],
    },
  ],
  [
    'Mistral, by name',
    'Yes.[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]h{"b": 2}',
    {
      text: 'Yes.',
      calls: [
        { name: 'f', arguments: '{"a": 1}' },
        { name: 'h', arguments: '{"b": 2}' },
      ],
    },
  ],
  ['Mistral, cut off', '[TOOL_CALLS] [{"name": "f"', { text: '', calls: [] }],
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
    fc.constantFrom(
      '[TOOL_CALLS]',
      '[ARGS]',
      '<|python_tag|>',
      'f',
      '```',
      '```json',
      '{"name": "f", "arguments": ',
      ', ',
      '; ',
      '}',
      'text',
      ' ',
      '\n',
      '<tool_',
      '<tool_call>',
      '</tool_call>',
      '{"name": "x"',
      '"',
      '{',
      ']',
      '<',
    ),
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
