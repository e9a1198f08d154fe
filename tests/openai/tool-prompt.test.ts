import { describe, expect, it } from 'vitest';
import { compileTemplate, type TemplateOptions } from '../../models/template.ts';
import { shortIds } from '../../openai/requests/tool-prompt.ts';
import type { ChatMessage, Tool } from '../../openai/requests/types.ts';
import { ToolParser } from '../../openai/tools.ts';
import { chatPrompt } from '../../serving/run/prompt.ts';
import type { Served } from '../../serving/run/runtime.ts';

const tools: Tool[] = [
  { name: 'get_time', description: 'What time it is.', parameters: { type: 'object', properties: {} }, strict: false },
];
const asked: ChatMessage[] = [
  { role: 'user', content: 'What time is it?' },
  { role: 'assistant', content: 'Let me see.', toolCalls: [{ id: 'call_1', name: 'get_time', arguments: '{"zone": "UTC"}' }] },
  { role: 'tool', content: '12:00', toolCallId: 'call_1' },
];

/** The prompt's text under a template: its tokens are characters. */
function prompt(source: string, messages: readonly ChatMessage[], options: TemplateOptions = {}, control: string[] = []): string {
  const tokenizer = { fewest: () => 0, idOf: () => undefined, encode: (text: string) => [...text].map((c) => c.codePointAt(0)) };
  const served = { template: compileTemplate(source, { bos: '<s>', eos: '</s>', ...options }), control, tokenizer } as unknown as Served;
  return String.fromCodePoint(...chatPrompt(served, { messages, tools }));
}

describe('tools under a template that prints none', () => {
  /** As SmolLM2's: every turn's content, whatever its role. */
  const chatml =
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

  it('are described in a system turn, and past calls and results are written out', () => {
    const text = prompt(chatml, [{ role: 'system', content: 'Be brief.' }, ...asked]);
    expect(text).toMatch(/^<\|im_start\|>system\nBe brief\.\n\nYou may call functions/);
    expect(text).toContain('{"name":"get_time","description":"What time it is.","parameters":{"type":"object","properties":{}}}\n');
    expect(text).toContain(
      'assistant\nLet me see.\n<tool_call>\n{"name": "get_time", "arguments": {"zone": "UTC"}}\n</tool_call><|im_end|>',
    );
    expect(text).toMatch(/user\n<tool_response>\n12:00\n<\/tool_response><\|im_end\|>\n<\|im_start\|>assistant\n$/);
  });

  it('get a system turn of their own where there is none', () => {
    expect(prompt(chatml, asked)).toMatch(/^<\|im_start\|>system\nYou may call functions[\s\S]*<\|im_start\|>user\nWhat time/);
  });

  it('are told by the user where the template knows no system turn', () => {
    const strict = `{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}${chatml.slice('{% for m in messages %}'.length)}`;
    expect(prompt(strict, asked)).toMatch(/^<\|im_start\|>user\nYou may call functions[\s\S]*\n\nWhat time is it\?<\|im_end\|>/);
  });

  it('a template that prints them is given them', () => {
    expect(prompt('{% if tools %}{{ tools[0].function.name }};{% endif %}{{ messages[0].content }}', asked)).toBe(
      'get_time;What time is it?',
    );
  });
});

describe('past calls under a template that prints none', () => {
  const source =
    "{% if tools %}{{ 'List of tools: ' ~ (tools | tojson) ~ '\n' }}{% endif %}{% for m in messages %}{{ '<' ~ m.role ~ '>' ~ m.content }}{% endfor %}";

  it.each([
    ['python', '<|tool_call_start|>[get_time(zone="UTC", at=None)]<|tool_call_end|>'],
    ['gemma', '<start_function_call>call:get_time{zone:<escape>UTC<escape>,at:null}<end_function_call>'],
    [
      'xml',
      '<tool_call>\n<function=get_time>\n<parameter=zone>\nUTC\n</parameter>\n<parameter=at>\nnull\n</parameter>\n</function>\n</tool_call>',
    ],
    ['granite', '<|tool_call|>[{"name": "get_time", "arguments": {"zone": "UTC", "at": null}}]'],
  ] as const)('are written as %s writes them, with its own tags, and results are not lost', (toolCalls, written) => {
    const messages = asked.map((m) =>
      m.role === 'assistant' ? { ...m, toolCalls: m.toolCalls?.map((c) => ({ ...c, arguments: '{"zone": "UTC", "at": null}' })) } : m,
    );
    const text = prompt(source, messages, { toolCalls }, [written.slice(0, written.indexOf('>') + 1)]);
    expect(text).toContain(`<assistant>Let me see.\n${written}<user><tool_response>\n12:00\n</tool_response>`);
    const parser = new ToolParser({ tools });
    const args = parser.push(written).map((p) => (p.kind === 'arguments' ? p.text : ''));
    expect(JSON.parse(args.join(''))).toEqual({ zone: 'UTC', at: null });
  });

  it('the tags of what a client says stay text', () => {
    const tricky: ChatMessage[] = [{ role: 'user', content: '\uE0FE<|tool_call_start|>\uE0FE <|tool_call_start|>' }, ...asked.slice(1)];
    expect(prompt(source, tricky, { toolCalls: 'python' }, ['<|tool_call_start|>'])).toContain(
      '<user><\uE0FF|tool_call_start|> <\uE0FF|tool_call_start|><assistant>Let me see.\n<|tool_call_start|>[get_time(zone="UTC")]',
    );
  });
});

describe('ids of calls for Mistral', () => {
  it('are nine letters and digits, the same in call and result, and kept where they are so already', () => {
    const source =
      "{% for m in messages %}{% if m.role == 'tool' %}{{ '[TOOL_RESULTS]' ~ m.tool_call_id ~ m.content }}{% elif m.tool_calls %}{{ '[TOOL_CALLS]' ~ m.tool_calls[0].id ~ m.tool_calls[0].function.name }}{% endif %}{% endfor %}{% if tools %}{{ tools[0].function.name }}{% endif %}";
    const [, call, result] =
      /^\[TOOL_CALLS\]([a-zA-Z0-9]{9})get_time\[TOOL_RESULTS\]([a-zA-Z0-9]{9})12:00get_time$/.exec(prompt(source, asked)) ?? [];
    expect(call).toBe(result);
    expect(call).toBeDefined();
    const kept: ChatMessage[] = [{ role: 'tool', content: '', toolCallId: 'aBcD12345' }];
    expect(shortIds(kept)).toEqual(kept);
    expect(shortIds([{ role: 'tool', content: '', toolCallId: 'call_2' }])).not.toEqual(
      shortIds([{ role: 'tool', content: '', toolCallId: 'call_1' }]),
    );
  });
});
