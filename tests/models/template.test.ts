import { describe, expect, it } from 'vitest';
import { compileTemplate } from '../../models/template.ts';
import { missing, readJson } from './data.ts';

const FILE = 'templates/huggingface-e2e-vectors.json';

interface Case {
  name: string;
  chat_template: string;
  context: Record<string, unknown> & {
    messages: Record<string, unknown>[];
    tools?: Record<string, unknown>[];
    add_generation_prompt?: boolean;
  };
  expected: string;
}

describe('chat templates', () => {
  it.skipIf(missing(FILE))(`all 53 vectors of Hugging Face's but one${missing(FILE)}`, () => {
    const cases = readJson(FILE) as Case[];
    expect(cases.length).toBe(53);
    for (const c of cases) {
      if (c.name.endsWith('MadeAgents/Hammer2.1')) continue; // says JSON of `tools | string`, which is repr in Python (templates.test.ts)
      const { messages, tools, add_generation_prompt, bos_token, eos_token, ...args } = c.context;
      const template = compileTemplate(c.chat_template, {
        bos: bos_token as string | undefined,
        eos: eos_token as string | undefined,
        now: () => new Date(Date.UTC(2025, 6, 10)), // the day one of them was recorded
      });
      expect(template.render({ messages, tools, addGenerationPrompt: add_generation_prompt, args }), c.name).toBe(c.expected);
    }
  });

  const render = (source: string, args: Record<string, unknown> = {}) => compileTemplate(source).render({ messages: [], args });

  it.each([
    ["{{ 'xxaxx'.strip('x') }}{{ '\\n a'.lstrip('\\n') }}{{ 'abcba'.rstrip('ab') }}|{{ ' a '.strip() }}", 'a aabc|a'],
    ["{{ nothing | trim }}{{ nothing | length }}{{ nothing | default('d') }}{% for x in nothing %}x{% else %}none{% endfor %}", '0dnone'],
    ["{{ {'a': [1, 2.5, true, none, 'it\\'s'], 'é\\n': {}} | string }}", `{'a': [1, 2.5, True, None, "it's"], 'é\\n': {}}`],
    ["{% for c in 'aé' %}{{ loop.index }}{{ c }}{% endfor %}{{ {'a': 1}[nothing] }}{{ nothing is iterable }}", '1a2étrue'],
    ["{% for k, v in {'a': 1}.items() if v > 0 %}{{ k }}{% endfor %}{{ dict(a=1, b='c') | tojson }}", 'a{"a": 1, "b": "c"}'],
  ])('%s', (source, text) => expect(render(source)).toBe(text));

  it('takes the time from outside', () => {
    const at = compileTemplate("{{ strftime_now('%d %B %Y, %A %H:%M %p %-d %b %%') }}", {
      now: () => new Date(Date.UTC(2026, 0, 5, 15, 4)),
    });
    expect(at.render({ messages: [] })).toBe('05 January 2026, Monday 15:04 PM 5 Jan %');
  });

  it('raises what the template raises', () => {
    expect(() => render("{{ raise_exception('roles must alternate') }}")).toThrow('roles must alternate');
    expect(() => compileTemplate('{% for x in %}')).toThrow();
  });

  it('renders tools with tojson, and nothing when there are none', () => {
    const t = compileTemplate('{% if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}{% else %}none{% endif %}');
    expect(t.render({ messages: [], tools: [] })).toBe('none');
    expect(t.render({ messages: [], tools: [{ name: 'f', n: 1 }] })).toBe('{"name": "f", "n": 1}');
  });

  it('stops templates that run too long or grow too large', () => {
    const nested = '{% for a in range(10000) %}{% for b in range(10000) %}{{ a }}{% endfor %}{% endfor %}';
    expect(() => render(nested)).toThrow(/more than \d+ (steps|characters)/);
    expect(() => render('{{ range(10000000000) }}')).toThrow(/range of 10000000000/);
    const doubling = `{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}`;
    expect(() => render(doubling)).toThrow(/more than \d+ characters/);
  });

  it('lets no argument replace messages or helpers', () => {
    expect(render('{{ messages | length }}{{ x }}', { messages: [1, 2, 3], x: 'y' })).toBe('0y');
    expect(() => render("{{ raise_exception('a') }}", { raise_exception: 'no function' })).toThrow('a');
  });
});
