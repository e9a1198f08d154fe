import { describe, expect, it } from 'vitest';
import { createGrammarCompiler, DIALECT_NAMES, type DialectName, dialectOf, type GrammarConstraint } from '../../models/grammar/index.ts';
import { ToolParser, textParameters } from '../../openai/tools.ts';
import { SETTINGS } from '../../policy/settings.ts';
import { schemas } from './schemas.ts';
import { ajv } from './validator.ts';
import { bytes, dumps, random, small } from './vocabularies.ts';

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
    const any = compiler.tools(tools, 'auto', { answer: { object: true } });
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
    [
      'granite',
      '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Oslo"}}]',
      '<|tool_call|>[{"name": "get_time", "arguments": {}}, {"name": "get_time", "arguments": {}}]',
    ],
    [
      'python',
      '<|tool_call_start|>[get_weather(city="Oslo", days=3)]<|tool_call_end|>',
      '<|tool_call_start|>[get_time(), get_weather(city="Oslo")]<|tool_call_end|>',
    ],
    [
      'gemma',
      '<start_function_call>call:get_weather{city:<escape>Oslo<escape>,days:3}<end_function_call>',
      '<start_function_call>call:get_time{}<end_function_call><start_function_call>call:get_weather{city:<escape>a}{,<escape>}<end_function_call>',
    ],
    [
      'xml',
      '<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>',
      '<tool_call>\n<function=get_time>\n</function>\n</tool_call>\n<tool_call>\n<function=get_weather>\n<parameter=city>\n<b>"</param\n</parameter>\n</function>\n</tool_call>',
    ],
  ];

  it.each(written)('%s: calls as its models write them, and nothing after them', (dialect, once, twice) => {
    const told = tools.map((t) => ({ ...t, texts: textParameters(t.parameters) }));
    const required = compiler.tools(told, 'required', { dialect });
    const auto = compiler.tools(told, 'auto', { dialect });
    const single = compiler.tools(told, 'required', { dialect, parallel: false });
    for (const text of [once, twice]) expect(required.matches(bytes(text)), text).toBe(true);
    expect([single.matches(bytes(once)), single.matches(bytes(twice))]).toEqual([true, false]);
    expect(auto.matches(bytes(once))).toBe(true);
    for (const text of [
      'Hi',
      '',
      `${once} and`,
      once.replace('"Oslo"', '1').replace('days=3', 'days=9').replace('days:3', 'days:8').replace('\n3\n', '\n0\n'),
    ])
      expect(required.matches(bytes(text)), text).toBe(false);
    for (const text of ['Just text, [TOOL_CALL and {"name": "get_weather"}', '<|tool_call', '<start_function_call', '<function=x>'])
      expect(auto.matches(bytes(text)), text).toBe(true);
  });

  it.each(written)('%s: what the grammar lets through is read as calls', (_, once, twice) => {
    for (const text of [once, twice]) {
      const parser = new ToolParser({ tools });
      const pieces = [...parser.push(text), ...parser.flush()];
      expect(pieces.filter((p) => p.kind === 'name')).toHaveLength(text === once ? 1 : 2);
      expect(pieces.filter((p) => p.kind === 'text' || p.kind === 'cut')).toEqual([]);
    }
  });

  it('every kind of value comes out of each as it went in, however its text is cut', () => {
    const parameters = {
      type: 'object',
      properties: {
        s: { type: 'string' },
        e: { enum: ['a"b', 'ü'] },
        n: { type: ['number', 'null'] },
        b: { type: 'boolean' },
        l: { type: 'array', items: { anyOf: [{ type: 'integer' }, { type: 'string' }] } },
        o: {
          type: 'object',
          properties: { k: { type: 'string', maxLength: 8 }, p: { type: 'string', pattern: '^[a-z]{2}$' } },
          required: ['k'],
        },
      },
      required: ['s', 'e', 'n', 'b', 'l', 'o'],
    };
    const f = [{ name: 'f', parameters, texts: textParameters(parameters) }];
    const value = { s: 'it\'s "x"\n{1}, <b>', e: 'a"b', n: -1.5, b: true, l: [1, 'two, (3)'], o: { k: 'é}', p: 'ab' } };
    const texts: [DialectName, string][] = [
      ['hermes', `<tool_call>\n{"name": "f", "arguments": ${dumps(value)}}\n</tool_call>`],
      [
        'python',
        `<|tool_call_start|>[f(s="it's \\"x\\"\\n{1}, <b>", e="a\\"b", n=-1.5, b=True, l=[1, "two, (3)"], o={"k": "é}", "p": "ab"})]<|tool_call_end|>`,
      ],
      [
        'gemma',
        '<start_function_call>call:f{s:<escape>it\'s "x"\n{1}, <b><escape>,e:<escape>a"b<escape>,n:-1.5,b:true,l:[1,<escape>two, (3)<escape>],o:{k:<escape>é}<escape>,p:<escape>ab<escape>}}<end_function_call>',
      ],
      [
        'xml',
        `<tool_call>\n<function=f>\n${[
          ['s', value.s],
          ['e', '"a\\"b"'],
          ['n', '-1.5'],
          ['b', 'true'],
          ['l', '[1, "two, (3)"]'],
          ['o', '{"k": "é}", "p": "ab"}'],
        ]
          .map(([k, v]) => `<parameter=${k}>\n${v}\n</parameter>\n`)
          .join('')}</function>\n</tool_call>`,
      ],
    ];
    for (const [dialect, text] of texts) {
      expect(compiler.tools(f, 'required', { dialect }).matches(bytes(text)), text).toBe(true);
      for (const size of [1, 3, 1000]) {
        const parser = new ToolParser({ tools: f });
        const pieces = (text.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? []).flatMap((t) => parser.push(t));
        pieces.push(...parser.flush());
        const args = pieces.map((p) => (p.kind === 'arguments' ? p.text : '')).join('');
        expect(JSON.parse(args), dialect).toEqual(value);
        expect(pieces.filter((p) => p.kind === 'text' || p.kind === 'cut')).toEqual([]);
      }
    }
  });

  it.each(['python', 'gemma', 'xml'] as const)('%s: whatever a sampler draws is a call with valid arguments', (dialect) => {
    const [[, parameters]] = schemas;
    const f = [{ name: 'save', parameters, texts: textParameters(parameters) }];
    const validate = ajv.compile(parameters as object);
    const grammar = compiler.tools(f, 'required', { dialect, parallel: false });
    const next = random(7);
    for (let i = 0; i < 20; i++) {
      const c = grammar.start();
      const out: number[] = [];
      for (let n = 0; n < 3000 && !c.finished(); n++) {
        const mask = c.mask() as Uint32Array;
        const ids = [...Array(small.size).keys()].filter((id) => (mask[id >> 5] >>> (id & 31)) & 1);
        const calm = ids.filter((id) => id < 128 || small.isSpecial(id)); // few loops
        const id = (calm.length > 0 ? calm : ids)[Math.floor(next() * (calm.length || ids.length))];
        c.accept(id);
        if (!small.stopIds.includes(id)) out.push(...small.bytesOf(id));
      }
      const parser = new ToolParser({ tools: f });
      const pieces = [...parser.push(new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(out))), ...parser.flush()];
      const args = JSON.parse(pieces.map((p) => (p.kind === 'arguments' ? p.text : '')).join(''));
      expect([validate(args), args, validate.errors]).toEqual([true, args, null]);
    }
  });

  it('after a tag there is nothing but a call', () => {
    for (const [dialect, tag] of [
      ['llama', '<|python_tag|>'],
      ['mistral', 'Yes. [TOOL_CALLS]'],
      ['mistral-args', '[TOOL_CALLS]'],
      ['granite', '<|tool_call|>'],
      ['python', '<|tool_call_start|>'],
      ['gemma', '<start_function_call>'],
      ['xml', '<tool_call>'],
    ] as const) {
      const g = compiler.tools(tools, 'auto', { dialect });
      const c = feed(g.start(), tag);
      expect(c.mayEnd()).toBe(false);
      expect(() => feed(c, 'x')).toThrow(/may not come here/);
    }
  });

  it('may be set, by the same names', () => expect(SETTINGS.TOOL_CALLS.of).toEqual(['auto', ...DIALECT_NAMES]));

  it('of a template are told by the tags in it', () => {
    expect(dialectOf("{{ '<tool_call>' }}", true)).toBe('hermes');
    expect(dialectOf("{{ '[TOOL_CALLS] [' }}", true)).toBe('mistral');
    expect(dialectOf("{{ '[TOOL_CALLS]' ~ name ~ '[ARGS]' }}", true)).toBe('mistral-args');
    expect(dialectOf("{{ '<|python_tag|>' }}", true)).toBe('llama');
    expect(dialectOf("{{ '<|tool_call|>' }}", true)).toBe('granite');
    expect(dialectOf("{{ '<start_function_call>call:' }}", true)).toBe('gemma');
    expect(dialectOf("{{ '<tool_call>\\n<function=' }}", true)).toBe('xml');
    expect(dialectOf('List of tools: {{ tools }}', true, (tag) => tag.startsWith('<|tool_call_'))).toBe('python');
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
