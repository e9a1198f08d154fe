import { describe, expect, it } from 'vitest';
import { createGrammarCompiler, type DialectName, dialectOf, type GrammarConstraint } from '../../models/grammar/index.ts';
import { ToolParser } from '../../openai/tools.ts';
import { bytes, small } from './vocabularies.ts';

const compiler = createGrammarCompiler(small);
const tools = [
  {
    name: 'get_weather',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', maxLength: 20 }, days: { type: 'integer', minimum: 1, maximum: 7 } },
      required: ['city'],
    },
  },
  { name: 'get_time' },
];
const weather = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "days": 3}}\n</tool_call>';
const time = '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>';
const special = (text: string) => {
  for (let id = 0; id < small.size; id++) if (small.isSpecial(id) && new TextDecoder().decode(small.bytesOf(id)) === text) return id;
  throw new Error(`no special token ${text}`);
};
const feed = (c: GrammarConstraint, text: string) => {
  for (const b of bytes(text)) c.accept(b);
  return c;
};

describe('tools chosen freely', () => {
  const g = compiler.tools(tools, 'auto');

  it.each([
    '',
    'Just text, even {"broken": ] and <tool_cal',
    '<<tool_call',
    weather,
    `Let me look. ${weather}`,
    `${weather}\n${time}`,
    `<tool_<tool_call>${time.slice(11)}`,
  ])('take %j', (text) => expect(g.matches(bytes(text))).toBe(true));

  it.each([
    '<tool_call>',
    `text <tool_call>{"name": "get_time", "arguments": {}}\n</tool_call>`,
    weather.replace('get_weather', 'get_news'),
    weather.replace('"days": 3', '"days": 8'),
    weather.replace('"city": "Oslo", ', ''),
    time.replace('{}', '{"x": 1}'),
    `${weather} and more`,
    weather.slice(0, -1),
  ])('refuse %j', (text) => expect(g.matches(bytes(text))).toBe(false));

  it('do not restrict free text: there is no mask until the tag has begun to appear', () => {
    const c = feed(g.start(), 'Hello');
    expect([c.mask(), c.mayEnd()]).toEqual([null, true]);
    feed(c, ' <tool_call>');
    expect(c.mayEnd()).toBe(false);
    const m = c.mask() as Uint32Array;
    expect(m.reduce((n, w) => n + w.toString(2).replaceAll('0', '').length, 0)).toBeLessThan(5); // only what begins the call
  });

  it('let any special token come in free text, and nothing but the call after the tag', () => {
    const c = feed(g.start(), 'Hi');
    c.accept(special('<|im_start|>'));
    feed(c, 'more <tool_call>');
    expect(() => c.accept(special('<|im_start|>'))).toThrow(/may not come here/);
  });
});

describe('text without calls', () => {
  const g = compiler.plainText();

  it.each(['', 'Just text, {"a": 1}', '<tool_cal', '<<tool_call', '</tool_call>'])('takes %j', (text) =>
    expect(g.matches(bytes(text))).toBe(true),
  );

  it('cannot begin one, by text or by the special token, and may end anywhere', () => {
    const c = g.start();
    expect(() => c.accept(special('<tool_call>'))).toThrow(/may not come here/);
    feed(c, 'Hi <tool_call');
    expect(c.mayEnd()).toBe(true);
    expect(() => feed(c, '>')).toThrow(/may not come here/);
    const d = feed(g.start(), 'x');
    d.accept(special('<|im_start|>'));
    expect(d.mayEnd()).toBe(true);
  });
});

describe('tools with a form of the answer', () => {
  const answer = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'], additionalProperties: false };
  const g = compiler.tools(tools, 'auto', { answer: { schema: answer } });

  it.each([weather, time, `${time}\n${weather}`, '{"ok": true}'])('take %j', (text) => expect(g.matches(bytes(text))).toBe(true));
  it.each(['', 'text', `{"ok": true}${time}`, '{"ok": 1}', `Hm. ${time}`])('refuse %j', (text) =>
    expect(g.matches(bytes(text))).toBe(false),
  );

  it('any object is such a form; a call that is required leaves it out', () => {
    const any = compiler.tools(tools, 'auto', { answer: 'object' });
    for (const text of ['{"x": [1]}', time]) expect(any.matches(bytes(text))).toBe(true);
    const required = compiler.tools(tools, 'required', { answer: { schema: answer } });
    expect([required.matches(bytes(time)), required.matches(bytes('{"ok": true}'))]).toEqual([true, false]);
  });

  it('names which of them is wrong', () => {
    expect(() => compiler.tools(tools, 'auto', { answer: { schema: { type: 'string', format: 'iri' } } })).toThrow(
      /^at the root, "format"/,
    );
    expect(compiler.tools(tools, 'auto', { answer: { schema: answer } })).toBe(g);
    expect(compiler.tools(tools, 'auto')).not.toBe(g);
  });
});

describe('a call', () => {
  it('must come at once when one is required', () => {
    const g = compiler.tools(tools, 'required');
    for (const text of [weather, time, `${time}\n${weather}`]) expect(g.matches(bytes(text))).toBe(true);
    for (const text of ['', 'Hi', ` ${time}`, `${time}\n`]) expect(g.matches(bytes(text))).toBe(false);
  });

  it('is of the named tool when one is named', () => {
    const g = compiler.tools(tools, { name: 'get_time' });
    expect([g.matches(bytes(time)), g.matches(bytes(weather))]).toEqual([true, false]);
    expect(() => compiler.tools(tools, { name: 'x' })).toThrow(/there is no tool named "x"/);
  });

  it('comes once where calls must not be parallel', () => {
    const g = compiler.tools(tools, 'auto', { parallel: false });
    expect([g.matches(bytes(time)), g.matches(bytes(`${time}\n${time}`))]).toEqual([true, false]);
  });

  it('takes its tags as text or as special tokens', () => {
    const c = compiler.tools(tools, 'required').start();
    c.accept(special('<tool_call>'));
    feed(c, '\n{"name": "get_time", "arguments": {}}\n');
    c.accept(special('</tool_call>'));
    expect(c.mayEnd()).toBe(true);
    c.accept(small.stopIds[0]);
    expect(c.finished()).toBe(true);
  });

  it('never holds a special token in its arguments', () => {
    const c = compiler.tools(tools, 'required').start();
    feed(c, '<tool_call>\n{"name": "get_weather", "arguments": {"city": "');
    expect(() => c.accept(special('</tool_call>'))).toThrow(/may not come here/);
    feed(c, '</tool_call>"');
  });

  it('takes arguments only as an object', () => {
    const g = compiler.tools(
      [{ name: 'f', parameters: { anyOf: [{ type: 'integer' }, { type: 'object', properties: { a: { type: 'null' } } }] } }],
      'required',
    );
    expect(g.matches(bytes('<tool_call>\n{"name": "f", "arguments": {"a": null}}\n</tool_call>'))).toBe(true);
    expect(g.matches(bytes('<tool_call>\n{"name": "f", "arguments": 1}\n</tool_call>'))).toBe(false);
  });

  it('names the tool and the place in a bad schema', () => {
    const bad = [tools[0], { name: 'f', parameters: { type: 'object', properties: { a: { type: 'string', format: 'iri' } } } }];
    expect(() => compiler.tools(bad, 'auto')).toThrow('at /tools/1/parameters/properties/a, "format": "iri" is not enforced');
    const left: string[] = [];
    compiler.tools(bad, 'auto', { onUnsupported: (pointer, keyword) => left.push(`${pointer} ${keyword}`) });
    expect(left).toEqual(['/tools/1/parameters/properties/a format']);
    expect(() => compiler.tools([], 'auto')).toThrow(/no tools/);
  });

  it('resolves references within its own parameters', () => {
    const parameters = { type: 'object', properties: { p: { $ref: '#/$defs/p' } }, required: ['p'], $defs: { p: { enum: ['x', 'y'] } } };
    const g = compiler.tools([{ name: 'f', parameters }, tools[0]], 'required');
    expect(g.matches(bytes('<tool_call>\n{"name": "f", "arguments": {"p": "y"}}\n</tool_call>'))).toBe(true);
  });
});

describe('dialects', () => {
  const call = (key: string) => `{"name": "get_weather", "${key}": {"city": "Oslo"}}`;
  const written: [dialect: DialectName, once: string, twice: string][] = [
    ['llama', call('parameters'), `${call('parameters')}; ${call('parameters')}`],
    ['json', call('arguments'), `${call('arguments')}\n${call('arguments')}`],
    ['mistral', `[TOOL_CALLS] [${call('arguments')}]`, `[TOOL_CALLS][${call('arguments')}, ${call('arguments')}]`],
    ['mistral-args', '[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}', '[TOOL_CALLS]get_time[ARGS]{}[TOOL_CALLS]get_time[ARGS]{}'],
  ];

  it.each(written)('%s: calls as its models write them, and nothing after them', (dialect, once, twice) => {
    const required = compiler.tools(tools, 'required', { dialect });
    const auto = compiler.tools(tools, 'auto', { dialect });
    const single = compiler.tools(tools, 'required', { dialect, parallel: false });
    for (const text of [once, twice]) expect(required.matches(bytes(text)), text).toBe(true);
    expect([single.matches(bytes(once)), single.matches(bytes(twice))]).toEqual([true, false]);
    expect(auto.matches(bytes(once))).toBe(true);
    for (const text of ['Hi', '', `${once} and`, once.replace('"Oslo"', '1')]) expect(required.matches(bytes(text)), text).toBe(false);
    expect(auto.matches(bytes('Just text, [TOOL_CALL and {"name": "get_weather"}'))).toBe(true);
  });

  it.each(written)('%s: what the grammar lets through is read as calls', (_, once, twice) => {
    for (const text of [once, twice]) {
      const parser = new ToolParser({ names: tools.map((t) => t.name) });
      const pieces = [...parser.push(text), ...parser.flush()];
      expect(pieces.filter((p) => p.kind === 'name')).toHaveLength(text === once ? 1 : 2);
      expect(pieces.filter((p) => p.kind === 'text' || p.kind === 'cut')).toEqual([]);
    }
  });

  it('after a tag there is nothing but a call', () => {
    for (const [dialect, tag] of [
      ['llama', '<|python_tag|>'],
      ['mistral', 'Yes. [TOOL_CALLS]'],
      ['mistral-args', '[TOOL_CALLS]'],
    ] as const) {
      const g = compiler.tools(tools, 'auto', { dialect });
      const c = feed(g.start(), tag);
      expect(c.mayEnd()).toBe(false);
      expect(() => feed(c, 'x')).toThrow(/may not come here/);
    }
  });

  it('of a template are told by the tags in it', () => {
    expect(dialectOf("{{ '<tool_call>' }}", true)).toBe('hermes');
    expect(dialectOf("{{ '[TOOL_CALLS] [' }}", true)).toBe('mistral');
    expect(dialectOf("{{ '[TOOL_CALLS]' ~ name ~ '[ARGS]' }}", true)).toBe('mistral-args');
    expect(dialectOf("{{ '<|python_tag|>' }}", true)).toBe('llama');
    expect([dialectOf('{{ tools }}', true), dialectOf('{{ messages }}', false)]).toEqual(['json', 'hermes']);
  });
});

describe('a call that is the whole text', () => {
  const g = compiler.tools(tools, 'auto');
  const args = '{"city": "Oslo"}';

  it.each([
    `{"name": "get_weather", "arguments": ${args}}`,
    `{"name":"get_weather","parameters":${args}\n}`,
    `\`\`\`json\n{\n  "name": "get_weather",\n  "arguments": ${args}\n}\n\`\`\``,
    `\`\`\`\n{"name": "get_weather", "arguments": ${args}}\n\`\`\``,
  ])('takes %j', (text) => expect(g.matches(bytes(text))).toBe(true));

  it.each([
    '{"name": "get_weather", "arguments": {"town": 1}}',
    '{"name": "get_weather", "arguments": "x"}',
    '```json\n{"name": "get_weather", "arguments": {}}\n```',
    `{"name": "get_weather", "arguments": ${args}} and more`,
  ])('refuses %j', (text) => expect(g.matches(bytes(text))).toBe(false));

  it.each([
    '{"name": "get_news", "arguments": 1}',
    '{"name": "Ada", "age": 36}',
    '{"name": "get_weather"}',
    '```python\nprint(1)\n```',
    'So: {"name": "get_weather", "arguments": 1}',
    '  {"nam<tool_cal',
    '{',
  ])('leaves %j free', (text) => expect(g.matches(bytes(text))).toBe(true));

  it('does not hide a tag: white space, then a call in it', () => {
    expect(g.matches(bytes(`  ${weather}`))).toBe(true);
    expect(g.matches(bytes('{"<tool_call>'))).toBe(false);
  });
});
