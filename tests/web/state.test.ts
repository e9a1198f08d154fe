import { describe, expect, it } from 'vitest';
import { readCard } from '../../web/src/card.ts';
import { endOf } from '../../web/src/ends.ts';
import { type Asked, curlOf, keptRequestOf, requestOf } from '../../web/src/request.ts';
import { DEFAULTS, readNumber, readSchema, readSettings, readStops, readTools, SAMPLING, showStops } from '../../web/src/settings.ts';
import { commandOf } from '../../web/src/shortcuts.ts';
import { type Action, type Chat, EMPTY, firstWords, nameOf, reduce, running, type State } from '../../web/src/state.ts';
import { duration, figures, rate } from '../../web/src/stats.ts';
import { createStorage } from '../../web/src/storage.ts';
import type { Delta } from '../../web/src/transport.ts';
import { type AnswerTurn, pathTo, reasoningOf, siblings, type Turn, wordsOf } from '../../web/src/turns.ts';

const play = (...actions: Action[]): State => actions.reduce(reduce, EMPTY);
/** Question n is called `qn`, its answer `an`. */
const ask = (n: number, text = `q${n}`): Action => ({ type: 'ask', text, ids: [`q${n}`, `a${n}`], at: n });
const said = (id: string, ...deltas: Delta[]): Action => ({
  type: 'deltas',
  id,
  deltas: deltas.map((delta, i) => ({ delta, at: 100 + 50 * i })),
});
const text = (value: string): Delta => ({ type: 'text', text: value });
const done = (id: string): Action => ({ type: 'ended', id, status: 'done' });
const words = (state: State) => state.path.map((turn) => turn.text);
const answer = (state: State) => state.path.at(-1) as AnswerTurn;
const asked = (state: State, turns: readonly Turn[] = state.path, chat: Partial<Chat> = {}): Asked => ({
  chat: { ...state.chat, ...chat },
  turns,
});

const TWO = [ask(1), said('a1', text('a1')), done('a1'), ask(2), said('a2', text('a'), text('2')), done('a2')];

describe('a conversation', () => {
  it('grows by question and answer, and is called by its first words', () => {
    const state = play(...TWO);
    expect(words(state)).toEqual(['q1', 'a1', 'q2', 'a2']);
    expect(running(state)).toBeUndefined();
    expect(nameOf(state.chat)).toBe('q1');
    expect(state.chat.changed).toBe(2);
    expect(firstWords(`${'word '.repeat(30)}`)).toMatch(/^(word ){11}word…$/);
  });

  it('measures what came when', () => {
    const state = play(
      ask(1),
      said('a1', { type: 'open', route: 'local' }, text('a'), text('b'), { type: 'usage', usage: { prompt: 5, completion: 2, cached: 1 } }),
    );
    expect(answer(state).stats).toEqual({
      first: 150,
      last: 200,
      pieces: 2,
      route: 'local',
      usage: { prompt: 5, completion: 2, cached: 1 },
    });
  });

  it('lets nothing into an answer that has ended or is gone', () => {
    const ended = play(ask(1), { type: 'ended', id: 'a1', status: 'stopped' });
    expect(reduce(ended, said('a1', text('late')))).toBe(ended);
    expect(reduce(ended, done('a1'))).toBe(ended);
    const again = play(ask(1), { type: 'ended', id: 'a1', status: 'failed' }, { type: 'again', id: 'a1', as: 'b1', at: 9 });
    expect(reduce(again, said('a1', text('late')))).toBe(again);
  });

  it('keeps both branches of an edit, and shows the chosen one to its end', () => {
    const edited = play(...TWO, { type: 'edit', id: 'q1', text: 'Q1', ids: ['e1', 'f1'], at: 3 });
    expect(words(edited)).toEqual(['Q1', '']);
    expect(running(edited)?.id).toBe('f1');
    expect(siblings(edited.turns, edited.path[0]).map((turn) => turn.id)).toEqual(['q1', 'e1']);
    const back = reduce(edited, { type: 'pick', id: 'q1' });
    expect(words(back)).toEqual(['q1', 'a1', 'q2', 'a2']);
    expect(words(reduce(back, { type: 'pick', id: 'e1' }))).toEqual(['Q1', '']);
  });

  it('keeps both answers of a regenerated one; one that said nothing is not kept', () => {
    const again = play(...TWO, { type: 'again', id: 'a1', as: 'b1', at: 3 });
    expect(words(again)).toEqual(['q1', '']);
    expect(siblings(again.turns, answer(again)).map((turn) => turn.id)).toEqual(['a1', 'b1']);
    expect(words(reduce(again, { type: 'pick', id: 'a1' }))).toEqual(['q1', 'a1', 'q2', 'a2']);
    const failed = play(ask(1), { type: 'ended', id: 'a1', status: 'failed' }, { type: 'again', id: 'a1', as: 'b1', at: 3 });
    expect(failed.turns.map((turn) => turn.id)).toEqual(['q1', 'b1']);
  });

  it('keeps an answer that was rewritten beside the model’s own', () => {
    const state = play(...TWO, { type: 'rewrite', id: 'a2', text: 'mine', as: 'm2', at: 4 });
    expect(words(state)).toEqual(['q1', 'a1', 'q2', 'mine']);
    expect(answer(state)).toMatchObject({ edited: true, status: 'done', stats: { pieces: 0 } });
    expect(words(reduce(state, { type: 'pick', id: 'a2' })).at(-1)).toBe('a2');
  });

  it('goes on with an answer that was cut off', () => {
    const cut = play(ask(1), said('a1', text('half')), { type: 'ended', id: 'a1', status: 'stopped' }, { type: 'continue', id: 'a1' });
    expect(running(cut)?.id).toBe('a1');
    const whole = [said('a1', text(' and half')), done('a1')].reduce(reduce, cut);
    expect(words(whole)).toEqual(['q1', 'half and half']);
    expect(answer(whole).stats.broken).toBe(true); // its times say nothing
    expect(rate(answer(whole).stats)).toBeUndefined();
    const counted = (completion: number): Delta => ({ type: 'usage', usage: { prompt: 10, completion, cached: 0 } });
    const twice = [
      { type: 'continue', id: 'a1' } as const,
      said('a1', counted(7)),
      done('a1'),
      { type: 'continue', id: 'a1' } as const,
      said('a1', counted(5)),
      done('a1'),
    ].reduce(reduce, whole);
    expect(figures(answer(twice).stats).find(({ unit }) => unit === 'tokens')?.value).toBe('12');
  });

  it('takes in what another tab wrote, and stays on the branch that the reader is on', () => {
    const here = play(...TWO);
    const there = reduce(here, ask(3));
    const merge = (state: State): Action => ({ type: 'merge', chat: state.chat, turns: state.turns });
    expect(words(reduce(here, merge(there)))).toEqual(['q1', 'a1', 'q2', 'a2', 'q3', '']);
    const branched = reduce(here, { type: 'edit', id: 'q1', text: 'Q1', ids: ['e1', 'f1'], at: 3 });
    const merged = reduce(here, merge(branched));
    expect(words(merged)).toEqual(['q1', 'a1', 'q2', 'a2']);
    expect(siblings(merged.turns, merged.path[0])).toHaveLength(2);
  });

  it('puts the next question where an answer failed without a word', () => {
    const failed = play(ask(1), { type: 'ended', id: 'a1', status: 'failed' }, ask(2));
    expect(words(failed)).toEqual(['q1', 'q2', '']);
  });

  it('stands a damaged tree: parents that are missing or go in circles', () => {
    const turn = (id: string, parent: string | null): Turn => ({ id, parent, role: 'user', text: id });
    expect(pathTo([turn('a', 'gone')], 'a').map((t) => t.id)).toEqual(['a']);
    expect(pathTo([turn('a', 'b'), turn('b', 'a')], 'a').map((t) => t.id)).toEqual(['b', 'a']);
    expect(pathTo([], 'a')).toEqual([]);
  });

  it('puts tool calls together and sends their results', () => {
    const call = (more: Partial<Delta & { type: 'tool' }>): Delta => ({ type: 'tool', index: 1, ...more });
    const called = play(
      ask(1),
      said('a1', call({ id: 'c1', name: 'f', arguments: '' }), call({ arguments: '{"a":' }), call({ arguments: '1}' })),
      done('a1'),
    );
    expect(answer(called).calls).toEqual([{ index: 1, id: 'c1', name: 'f', arguments: '{"a":1}' }]);
    const results = [{ id: 't1', callId: 'c1', name: 'f', text: '2' }];
    const told = reduce(called, { type: 'results', results, answer: 'b1', at: 2 });
    expect(requestOf(asked(told, told.path.slice(0, -1)), DEFAULTS, 'm').messages).toEqual([
      { role: 'user', content: 'q1' },
      { role: 'assistant', content: null, tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }] },
      { role: 'tool', content: '2', tool_call_id: 'c1' },
    ]);
    // calls that were never answered are not sent: the API refuses them
    expect(requestOf(asked(reduce(called, ask(2))), DEFAULTS, 'm').messages.map((message) => message.role)).toEqual(['user', 'user']);
  });
});

describe('a request', () => {
  const two = play(...TWO);

  it('leaves out what is not set', () => {
    expect(requestOf(asked(two, two.path.slice(0, 3), { tools: ' ' }), DEFAULTS, undefined)).toEqual({
      messages: [
        { role: 'user', content: 'q1' },
        { role: 'assistant', content: 'a1' },
        { role: 'user', content: 'q2' },
      ],
    });
  });

  it('carries every setting, zero too', () => {
    const settings = { ...DEFAULTS, temperature: 0, topP: 0.5, topK: 0, minP: 0, frequency: 0, stop: ['x'], maxTokens: 8, seed: 0 };
    const tools = '[{"type":"function","function":{"name":"f"}}]';
    expect(requestOf(asked(two, two.path.slice(0, 1), { tools, system: 'S' }), settings, 'pebble')).toEqual({
      model: 'pebble',
      messages: [
        { role: 'system', content: 'S' },
        { role: 'user', content: 'q1' },
      ],
      temperature: 0,
      top_p: 0.5,
      top_k: 0,
      min_p: 0,
      frequency_penalty: 0,
      stop: ['x'],
      max_tokens: 8,
      seed: 0,
      tools: [{ type: 'function', function: { name: 'f' } }],
    });
  });

  it('refuses broken tools by name', () => {
    expect(() => requestOf(asked(two, two.path, { tools: '{' }), DEFAULTS, undefined)).toThrow('The tools cannot be read.');
    expect(() => readTools('[{}]')).toThrow('tool 1');
    expect(readTools('[]')).toBeUndefined();
  });

  it('sends what still counts: from the chosen turn on, with a summary of the rest', () => {
    const cut = asked(two, two.path, { from: 'q2', summary: 'They said q1.', system: 'S' });
    expect(requestOf(cut, DEFAULTS, 'm').messages).toEqual([
      { role: 'system', content: 'S\n\nWhat was said before, in short: They said q1.' },
      { role: 'user', content: 'q2' },
      { role: 'assistant', content: 'a2' },
    ]);
    // on a branch without that turn everything is sent
    expect(requestOf(asked(two, two.path, { from: 'gone', summary: 'x' }), DEFAULTS, 'm').messages).toHaveLength(4);
  });

  it('to be kept carries only what is new, where the server holds this very branch', () => {
    const kept = (state: State) =>
      [
        said('a1', { type: 'kept', kept: { id: 'resp_1', seq: 0 } }),
        said('a1', text('a1'), { type: 'finish', reason: 'stop' }),
        done('a1'),
      ].reduce(reduce, state);
    const state = [ask(2)].reduce(reduce, kept(play(ask(1))));
    const before = state.path.slice(0, -1);
    const chat = { system: 'S', tools: '[{"type":"function","function":{"name":"f"}}]', schema: '{"type":"object"}' };
    const settings = { ...DEFAULTS, maxTokens: 5 };
    expect(keptRequestOf(asked(state, before, chat), settings, 'm')).toEqual({
      model: 'm',
      instructions: 'S',
      previous_response_id: 'resp_1',
      input: [{ role: 'user', content: 'q2' }],
      max_output_tokens: 5,
      tools: [{ type: 'function', name: 'f' }],
      text: { format: { type: 'json_schema', name: 'answer', schema: { type: 'object' } } },
    });
    const whole = {
      input: [
        { role: 'user', content: 'q1' },
        { role: 'assistant', content: 'a1' },
        { role: 'user', content: 'q2' },
      ],
    };
    expect(keptRequestOf(asked(state, before), DEFAULTS, 'm', true)).toEqual({ model: 'm', ...whole });
    // not when something was left out since, and not when the answer was rewritten
    expect(keptRequestOf(asked(state, before, { from: 'q1' }), DEFAULTS, 'm')).toEqual({ model: 'm', ...whole });
    const rewritten = before.map((turn) => (turn.id === 'a1' ? { ...turn, edited: true as const } : turn)) as Turn[];
    expect(keptRequestOf(asked(state, rewritten), DEFAULTS, 'm')).toEqual({ model: 'm', ...whole });
  });

  it('carries files before the question, in a fence that holds', () => {
    expect(wordsOf({ text: 'Why?', files: [{ name: 'a.md', text: '```\nx\n```' }] })).toBe('a.md:\n````\n```\nx\n```\n````\n\nWhy?');
  });

  it('leaves the reasoning of earlier answers out', () => {
    expect(reasoningOf('<think>hm</think>\n\nYes.')).toEqual({ reasoning: 'hm', rest: 'Yes.', open: false });
    expect(reasoningOf('<think>hm')).toEqual({ reasoning: 'hm', rest: '', open: true });
    const state = play(ask(1), said('a1', text('<think>hm</think>Yes.')), done('a1'));
    expect(requestOf(asked(state), DEFAULTS, 'm').messages.at(-1)).toEqual({ role: 'assistant', content: 'Yes.' });
  });

  it('can be given to a shell', () => {
    const curl = curlOf({ messages: [{ role: 'user', content: "it's" }] }, 'http://h', true);
    expect(curl).toContain(`"it'\\''s"`);
    expect(curl).toContain('$TURNSTONE_KEY');
  });
});

describe('settings', () => {
  it('are kept within bounds', () => {
    expect(readNumber('temperature', '9')).toBe(2);
    expect(readNumber('temperature', '0.7')).toBe(0.7);
    expect(readNumber('maxTokens', '1.6')).toBe(2);
    expect(readNumber('maxTokens', '0')).toBe(1);
    expect(readNumber('seed', ' ')).toBeNull();
    expect(readNumber('seed', 'x')).toBeNull();
    expect(readStops('END\n\\n\n\na\nb\nc')).toEqual(['END', '\n', 'a', 'b']);
    expect(readStops(showStops(['END', 'a\nb']))).toEqual(['END', 'a\nb']);
    expect(() => readSchema('[]')).toThrow('JSON object');
  });

  it('come back from storage, or as defaults', () => {
    const mine = {
      ...DEFAULTS,
      system: 'x',
      temperature: 0.3,
      theme: 'dark' as const,
      model: 'pebble',
      keep: false,
      stop: ['x'],
      presets: [{ name: 'p', system: 's', sampling: SAMPLING }],
    };
    expect(readSettings(JSON.parse(JSON.stringify(mine)))).toEqual(mine);
    for (const odd of [null, 3, [], { temperature: '1', theme: 'pink', system: 7, seed: Number.NaN }])
      expect(readSettings(odd)).toEqual(DEFAULTS);
  });
});

describe('storage', () => {
  const memory = () => {
    const map = new Map<string, string>();
    return {
      getItem: (k: string) => map.get(k) ?? null,
      setItem: (k: string, v: string) => void map.set(k, v),
      removeItem: (k: string) => void map.delete(k),
    };
  };

  it('says when there is no room', () => {
    const full = {
      ...memory(),
      setItem: () => {
        throw new Error('quota');
      },
    };
    expect(createStorage(full, full).saveSettings(DEFAULTS)).toBe(false);
  });
});

describe('figures', () => {
  it('count tokens after the first', () => {
    const usage = { prompt: 10, completion: 101, cached: 0 };
    expect(rate({ first: 200, last: 1200, pieces: 50, usage })).toEqual({ perSecond: 100, by: 'page' });
    const timings = { prefill: { tokens: 12, ms: 30 }, decode: { tokens: 40, ms: 500 } };
    // a slow network and a broken connection change nothing of what the server measured
    expect(rate({ first: 200, last: 9200, pieces: 3, usage, broken: true, timings })).toEqual({ perSecond: 80, by: 'server' });
    expect(rate({ first: 200, last: 1200, pieces: 51, timings: { ...timings, decode: { tokens: 0, ms: 0 } } })?.by).toBe('pieces');
    expect(rate({ first: 200, last: 1200, pieces: 51 })).toEqual({ perSecond: 50, by: 'pieces' });
    expect(rate({ first: 200, last: 200, pieces: 9 })).toBeUndefined();
    expect(rate({ pieces: 0 })).toBeUndefined();
  });

  it('read well', () => {
    expect([0.2, 84.4, 999.6, 1234, 9949, 14_400].map(duration)).toEqual(['1 ms', '84 ms', '1.0 s', '1.2 s', '9.9 s', '14 s']);
    const list = figures({ first: 84, last: 1084, pieces: 3, usage: { prompt: 20, completion: 11, cached: 16 } });
    expect(list.map(({ value, unit }) => `${value} ${unit}`)).toEqual(['10 tokens/s', '84 ms to first', '11 tokens', '16/20 cached']);
  });
});

describe('the end of an answer', () => {
  const ended = (change: Partial<AnswerTurn>): AnswerTurn => ({ ...answer(play(...TWO)), ...change });
  const full = { pieces: 9, usage: { prompt: 60, completion: 4, cached: 0 } };
  it.each([
    ['nothing', ended({ finish: 'stop' }), undefined],
    ['the limit', ended({ finish: 'length', stats: full }), 'Cut off at the limit of tokens for an answer (4).'],
    [
      'the context',
      ended({ finish: 'length', stats: { ...full, usage: { prompt: 60, completion: 40, cached: 0 } } }),
      'Cut off: the model’s context of 100 tokens is full.',
    ],
    ['the reader', ended({ status: 'stopped' }), 'Stopped.'],
    ['a closed page', ended({ status: 'cut' }), 'Cut off when the page was closed.'],
    ['a loop', ended({ status: 'repeating' }), 'Stopped by this page: the answer had begun to repeat itself.'],
  ])('by %s is said as it is', (_, turn, words) => {
    expect(endOf(turn, 100)?.words).toBe(words);
  });
});

describe('a pack', () => {
  it('says how large the model is and how it samples', () => {
    const manifest = {
      tokenizer: { bytes: 10 },
      shards: [{ bytes: 90 }],
      tensors: [{ shape: [2, 3] }, { shape: [4] }],
      generation: { temperature: 0.6, topK: 20 },
    };
    expect(readCard(manifest)).toEqual({
      bytes: 100,
      parameters: 10,
      defaults: { temperature: 0.6, topP: 1, topK: 20, minP: 0, repetition: 1, frequency: 0, presence: 0 },
    });
    expect(readCard('x')).toBeUndefined();
  });
});

describe('keys', () => {
  const key = (key: string, more: Partial<Parameters<typeof commandOf>[0]> = {}) =>
    commandOf({ ...{ key, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, isComposing: false }, ...more });
  it('do what they say, and leave typing alone', () => {
    expect(key('k', { ctrlKey: true })).toBe('search');
    expect(key('O', { metaKey: true, shiftKey: true })).toBe('new');
    expect(key('ArrowUp', { altKey: true })).toBe('newer');
    expect(key('Escape')).toBe('stop');
    expect(key('Escape', { isComposing: true })).toBeUndefined();
    for (const typed of ['k', 'o', ',', '/', 'ArrowUp', 'Enter']) expect(key(typed)).toBeUndefined();
    expect(key('k', { ctrlKey: true, altKey: true })).toBeUndefined(); // AltGr
  });
});
