import { describe, expect, it } from 'vitest';
import { ReasoningSplitter } from '../../openai/reasoning.ts';
import { parseMessages } from '../../openai/requests/anthropic.ts';
import { parseChat } from '../../openai/requests/chat.ts';
import type { Item } from '../../openai/requests/item-types.ts';
import { itemMessages } from '../../openai/requests/items.ts';
import { templateMessages } from '../../openai/requests/messages.ts';
import { parseResponses } from '../../openai/requests/responses.ts';
import { createAnswer } from '../../openai/stream/create.ts';
import { type Demand, demandOf } from '../../serving/run/constraint.ts';
import type { Served } from '../../serving/run/runtime.ts';
import { answerText } from '../../serving/run/text.ts';
import { bytes, small } from '../grammar/vocabularies.ts';

function split(pieces: readonly string[]): { reasoning: string; text: string } {
  const splitter = new ReasoningSplitter();
  const all = [...pieces.map((p) => splitter.push(p)), splitter.flush()];
  return { reasoning: all.map((s) => s.reasoning).join(''), text: all.map((s) => s.text).join('') };
}

const cases: [text: string, reasoning: string, rest: string][] = [
  ['<think>\nOne, two.\n</think>\n\nThree.', 'One, two.', 'Three.'],
  [' <think>a < b </thin k>\n\n</think>b', 'a < b </thin k>', 'b'],
  ['<think>\n\n</think>\n\nYes.', '', 'Yes.'],
  ['<thinking>x</thinking>y', 'x', 'y'],
  ['[THINK]x[/THINK]y', 'x', 'y'],
  ['<think>never ended\n', 'never ended', ''],
  ['<think>cut </thi', 'cut', ''],
  ['<think>', '', ''],
  ['No <think>x</think>', '', 'No <think>x</think>'],
  ['<thin air', '', '<thin air'],
  ['<thi', '', '<thi'],
  ['', '', ''],
];

describe('reasoning', () => {
  it.each(cases)('%j is split, however it is cut', (text, reasoning, rest) => {
    for (let cut = 0; cut <= text.length; cut++)
      expect(split([text.slice(0, cut), text.slice(cut)]), `cut at ${cut}`).toEqual({ reasoning, text: rest });
    expect(split([...text])).toEqual({ reasoning, text: rest });
  });
});

const meta = { id: 'x', model: 'm', created: 0 };
const said = '<think>\nThe tool <tool_call> helps.\n</think>\n\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>';
const messages = [{ role: 'user', content: 'Hi' }];
const f = { name: 'f', parameters: { type: 'object', properties: {} } };
const usage = { prompt: 1, completion: 2, cached: 0 };
const told = (request: Parameters<typeof createAnswer>[0], text = said) => {
  const answer = createAnswer(request, meta);
  return answer.open() + [...text].map((c) => answer.push(0, c)).join('') + answer.finish(0, 'stop') + answer.close(usage);
};

describe('an answer with reasoning', () => {
  const chat = { model: 'm', messages, tools: [{ type: 'function', function: f }] };

  it('gives it beside the content, and finds no call in it', () => {
    const { message, finish_reason } = JSON.parse(told(parseChat(chat))).choices[0];
    expect(message).toMatchObject({
      reasoning_content: 'The tool <tool_call> helps.',
      content: null,
      tool_calls: [{ function: { name: 'f' } }],
    });
    expect(finish_reason).toBe('tool_calls');
  });

  it('streams it', () => {
    const chunks = told(parseChat({ ...chat, stream: true }))
      .split('\n\n')
      .filter((l) => l.startsWith('data: {'));
    const deltas = chunks.map((l) => JSON.parse(l.slice(6)).choices[0].delta);
    expect(deltas.map((d) => d.reasoning_content ?? '').join('')).toBe('The tool <tool_call> helps.');
    expect(deltas.map((d) => d.content ?? '').join('')).toBe('');
  });

  it('is an item of its own in a response, and its events are whole', () => {
    const request = parseResponses({ model: 'm', input: 'Hi', tools: [{ type: 'function', ...f }], stream: true });
    const events = told(request)
      .split('\n\n')
      .filter(Boolean)
      .map((e) => JSON.parse(e.split('\ndata: ')[1]));
    const { output } = events.at(-1).response;
    expect(output).toMatchObject([
      { type: 'reasoning', status: 'completed', summary: [], content: [{ type: 'reasoning_text', text: 'The tool <tool_call> helps.' }] },
      { type: 'function_call', name: 'f', status: 'completed' },
    ]);
    expect(
      events
        .filter((e) => e.type === 'response.reasoning_text.delta')
        .map((e) => e.delta)
        .join(''),
    ).toBe('The tool <tool_call> helps.');
    expect(events.map((e) => e.sequence_number)).toEqual(events.map((_, i) => i));
    expect(itemMessages([...request.input, ...output] as Item[])).toMatchObject([
      { role: 'user' },
      { role: 'assistant', toolCalls: [{ name: 'f' }] },
    ]);
  });

  it('counts its tokens', () => {
    const { usage: counts } = JSON.parse(told(parseChat(chat)));
    // a token a character here: from the opening tag's last to the closing tag's
    expect(counts.completion_tokens_details).toEqual({ reasoning_tokens: '>\nThe tool <tool_call> helps.\n</think>'.length });
    expect(JSON.parse(told(parseChat(chat), 'Hi')).usage.completion_tokens_details).toBeUndefined();
    const response = JSON.parse(told(parseResponses({ model: 'm', input: 'Hi' })));
    expect(response.usage.output_tokens_details.reasoning_tokens).toBe(counts.completion_tokens_details.reasoning_tokens);
  });

  it('leaves completions alone', () => {
    expect(JSON.parse(told({ ...parseChat(chat), kind: 'completion', prompts: ['x'], echo: false })).choices[0].text).toBe(said);
  });
});

describe('what clients ask of reasoning', () => {
  it('becomes variables of the template; a client’s own come first', () => {
    const args = (body: object) => parseChat({ model: 'm', messages, ...body }).templateArgs;
    expect(args({})).toEqual({});
    expect(args({ reasoning_effort: 'high' })).toEqual({ enable_thinking: true, thinking: true, reasoning_effort: 'high' });
    expect(args({ reasoning_effort: 'none', verbosity: 'low' })).toEqual({ enable_thinking: false, thinking: false, verbosity: 'low' });
    expect(() => args({ verbosity: 'most' })).toThrow(/verbosity/);
    const said = parseResponses({ model: 'm', input: 'x', text: { verbosity: 'high' }, reasoning: { effort: 'low' } });
    expect(said.templateArgs).toEqual({ verbosity: 'high', enable_thinking: true, thinking: true, reasoning_effort: 'low' });
    expect(said.echo.text).toEqual({ format: { type: 'text' }, verbosity: 'high' });
    expect(() => parseResponses({ model: 'm', input: 'x', text: { verbosity: 1 } })).toThrow(/text\.verbosity/);
    expect(args({ enable_thinking: false })).toEqual({ enable_thinking: false });
    expect(args({ enable_thinking: true, chat_template_kwargs: { enable_thinking: false } })).toEqual({ enable_thinking: false });
    expect(() => args({ reasoning_effort: 'much' })).toThrow(/reasoning_effort/);
    const { thinkingBudget } = parseChat({ model: 'm', messages, reasoning: { max_tokens: 7 } });
    expect([thinkingBudget, parseChat({ model: 'm', messages, thinking_budget: 0 }).thinkingBudget]).toEqual([7, 0]);
    expect(parseResponses({ model: 'm', input: 'x', reasoning: { max_tokens: 9 } }).thinkingBudget).toBe(9);
    const thinking = { type: 'enabled', budget_tokens: 1024 };
    expect(parseMessages({ model: 'm', messages, max_tokens: 2000, thinking })).toMatchObject({ thinkingBudget: 1024 });
    expect(parseMessages({ model: 'm', messages, max_tokens: 9, thinking: { type: 'disabled' } }).thinkingBudget).toBeUndefined();
    expect(() => parseMessages({ model: 'm', messages, max_tokens: 9, thinking: { ...thinking, budget_tokens: -1 } })).toThrow(
      /budget_tokens/,
    );
    expect(parseResponses({ model: 'm', input: 'x', reasoning: { effort: 'low', summary: 'auto' } })).toMatchObject({
      templateArgs: { enable_thinking: true, reasoning_effort: 'low' },
      echo: { reasoning: { effort: 'low', summary: 'auto' } },
    });
  });

  it('of earlier turns reaches templates that print it', () => {
    const { messages: read } = parseChat({
      model: 'm',
      messages: [...messages, { role: 'assistant', content: 'a', reasoning_content: 'r' }],
    });
    expect(templateMessages(read)[1]).toEqual({ role: 'assistant', content: 'a', reasoning_content: 'r' });
  });
});

describe('a form that is demanded, of a model that thinks', () => {
  /** The prompt is one token a byte, as is the answer. */
  const tokenizer = {
    bytesOf: small.bytesOf,
    isSpecial: small.isSpecial,
    idOf: () => undefined,
    encode: (text: string) => [...bytes(text)],
    decode: (ids: number[]) => String.fromCharCode(...ids),
    stream: () => ({ push: (id: number) => new TextDecoder().decode(small.bytesOf(id)), flush: () => '' }),
  };
  const served = { tokenizer, stopIds: small.stopIds, config: { vocab: small.size } } as unknown as Served;
  const form = parseChat({ model: 'm', messages, response_format: { type: 'json_object' } });
  const free = parseChat({ model: 'm', messages, tools: [{ type: 'function', function: f }] });
  const start = (prompt: string, request = form) =>
    demandOf(served, request).constraint?.([...bytes(prompt)]) as ReturnType<NonNullable<Demand['constraint']>>;
  const allowed = (c: ReturnType<typeof start>, id: number) => {
    const mask = c.mask();
    return mask === null || ((mask[id >> 5] >> (id & 31)) & 1) === 1;
  };
  const feed = (c: ReturnType<typeof start>, text: string) => {
    for (const b of bytes(text)) {
      expect(allowed(c, b), `${String.fromCharCode(b)} of ${text}`).toBe(true);
      c.accept(b);
    }
    return c;
  };
  const [brace, stop] = [123, small.stopIds[0]];

  it('begins where the thinking ends, when the prompt has opened it', () => {
    const c = feed(start('assistant\n<think>\n'), 'Hm, {x} </thi');
    expect([allowed(c, 97), allowed(c, stop)]).toEqual([true, false]);
    const copy = c.clone?.() as typeof c;
    for (const one of [c, copy]) {
      feed(one, 'nk>');
      expect([allowed(one, brace), allowed(one, 97)]).toEqual([true, false]);
    }
  });

  it('begins at once when it has not', () => {
    const c = start('assistant\n');
    expect([allowed(c, brace), allowed(c, 60)]).toEqual([true, false]);
  });

  it('is thought about for so many tokens, then the end of the thinking is all that may come', () => {
    const budget = (n: number, more: object = { response_format: { type: 'json_object' } }) =>
      parseChat({ model: 'm', messages, thinking_budget: n, ...more });
    for (const thought of ['', 'Hm, {', '</thi']) {
      const c = feed(start('<think>\n', budget(thought.length)), thought);
      for (const b of bytes('</think>')) {
        expect(Array.from({ length: small.size }, (_, id) => id).filter((id) => allowed(c, id))).toEqual([b]);
        const copy = c.clone?.() as typeof c;
        expect(allowed(copy, b)).toBe(true);
        c.accept(b);
      }
      expect([allowed(c, brace), allowed(c, 97)]).toEqual([true, false]);
    }
    // an answer without a form: what it opens itself is bounded, too, and it may end at any time before
    const c = start('assistant\n', budget(2, {}));
    expect(c.mask()).toBeNull();
    for (const b of bytes('<think>ab')) {
      expect([allowed(c, b), allowed(c, stop)]).toEqual([true, true]);
      c.accept(b);
    }
    expect([allowed(c, 60), allowed(c, stop)]).toEqual([true, false]);
    for (const b of bytes('</think>')) c.accept(b);
    expect(c.mask()).toBeNull();
  });

  it('of a tool that is named is one call, and nothing after it', () => {
    const named = parseChat({
      model: 'm',
      messages,
      tools: [{ type: 'function', function: f }],
      tool_choice: { type: 'function', function: { name: 'f' } },
    });
    const call = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>';
    const left = (request: typeof named) => {
      const c = feed(start('assistant\n', request), call);
      return [allowed(c, 10), allowed(c, stop)];
    };
    expect([left(named), left({ ...named, toolChoice: { mode: 'required' } })]).toEqual([
      [false, true],
      [true, true],
    ]);
  });

  it('binds no call inside of the thinking, and one after it', () => {
    const c = feed(start('assistant\n', free), '<think>a <tool_call> b</think>\n<tool_call>');
    expect([allowed(c, 10), allowed(c, 97)]).toEqual([true, false]);
  });

  it('is told with the tag that the prompt has opened', () => {
    const stream = answerText(served, [...bytes('assistant\n<think>\n')], { chat: true, tools: false });
    expect([...bytes('a</think>b')].map((b) => stream.push(b)).join('')).toBe('<think>a</think>b');
    expect(answerText(served, [...bytes('<think>')], { chat: false, tools: false }).push(97)).toBe('a');
  });
});
