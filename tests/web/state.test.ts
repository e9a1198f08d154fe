import { describe, expect, it } from 'vitest';
import type { Delta } from '../../web/src/api.ts';
import { curlOf, requestOf } from '../../web/src/request.ts';
import { DEFAULTS, readNumber, readSettings, readTools } from '../../web/src/settings.ts';
import { type Action, type AnswerTurn, EMPTY, reduce, running, type State } from '../../web/src/state.ts';
import { duration, figures, rate } from '../../web/src/stats.ts';
import { createStorage, readChat } from '../../web/src/storage.ts';

const play = (...actions: Action[]): State => actions.reduce(reduce, EMPTY);
const ask = (text: string): Action => ({ type: 'ask', text });
const said = (id: number, ...deltas: Delta[]): Action => ({
  type: 'deltas',
  id,
  deltas: deltas.map((delta, i) => ({ delta, at: 100 + 50 * i })),
});
const text = (value: string): Delta => ({ type: 'text', text: value });
const done = (id: number): Action => ({ type: 'ended', id, status: 'done' });
const words = (state: State) => state.turns.map((turn) => turn.text);
const answer = (state: State) => state.turns.at(-1) as AnswerTurn;

const TWO = [ask('q1'), said(2, text('a1')), done(2), ask('q2'), said(4, text('a'), text('2')), done(4)];

describe('a conversation', () => {
  it('grows by question and answer', () => {
    const state = play(...TWO);
    expect(words(state)).toEqual(['q1', 'a1', 'q2', 'a2']);
    expect(new Set(state.turns.map((turn) => turn.id)).size).toBe(4);
    expect(running(state)).toBeUndefined();
  });

  it('measures what came when', () => {
    const state = play(
      ask('q'),
      said(2, { type: 'open', route: 'local' }, text('a'), text('b'), { type: 'usage', usage: { prompt: 5, completion: 2, cached: 1 } }),
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
    const ended = play(ask('q'), { type: 'ended', id: 2, status: 'stopped' });
    expect(reduce(ended, said(2, text('late')))).toBe(ended);
    expect(reduce(ended, done(2))).toBe(ended);
    const again = play(ask('q'), { type: 'again', id: 2 });
    expect(reduce(again, said(2, text('late')))).toBe(again);
  });

  it('asks an edited question again, and can take the edit back', () => {
    const edited = play(...TWO, { type: 'edit', id: 1, text: 'Q1' });
    expect(words(edited)).toEqual(['Q1', '']);
    expect(running(edited)).toBeDefined();
    const back = reduce(edited, { type: 'undo' });
    expect(words(back)).toEqual(['q1', 'a1', 'q2', 'a2']);
    expect(back.undo).toBeUndefined();
  });

  it('regenerates any answer, dropping what followed', () => {
    const again = play(...TWO, { type: 'again', id: 2 });
    expect(words(again)).toEqual(['q1', '']);
    expect(again.undo?.what).toBe('answer');
    // an answer that said nothing is not worth bringing back
    expect(play(ask('q'), { type: 'again', id: 2 }).undo).toBeUndefined();
  });

  it('is cleared, and brought back', () => {
    const cleared = play({ type: 'tools', tools: '[]' }, ...TWO, { type: 'clear' });
    expect(cleared.turns).toEqual([]);
    expect(cleared.tools).toBe('');
    expect(reduce(cleared, { type: 'undo' })).toMatchObject({ tools: '[]', turns: { length: 4 } });
    expect(reduce(cleared, ask('new')).undo).toBeUndefined();
  });

  it('puts the next question where an answer failed without a word', () => {
    const failed = play(ask('q1'), { type: 'ended', id: 2, status: 'failed' }, ask('q2'));
    expect(words(failed)).toEqual(['q1', 'q2', '']);
  });

  it('puts tool calls together and sends their results', () => {
    const call = (more: Partial<Delta & { type: 'tool' }>): Delta => ({ type: 'tool', index: 0, ...more });
    const called = play(
      ask('q'),
      said(2, call({ id: 'c1', name: 'f', arguments: '' }), call({ arguments: '{"a":' }), call({ arguments: '1}' })),
      done(2),
    );
    expect(answer(called).calls).toEqual([{ id: 'c1', name: 'f', arguments: '{"a":1}' }]);
    const told = reduce(called, { type: 'results', results: [{ callId: 'c1', name: 'f', text: '2' }] });
    expect(requestOf({ turns: told.turns.slice(0, -1), tools: '' }, DEFAULTS, 'm').messages).toEqual([
      { role: 'user', content: 'q' },
      { role: 'assistant', content: null, tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }] },
      { role: 'tool', content: '2', tool_call_id: 'c1' },
    ]);
    // calls that were never answered are not sent: the API refuses them
    expect(requestOf(reduce(called, ask('never mind')), DEFAULTS, 'm').messages.map((message) => message.role)).toEqual(['user', 'user']);
  });
});

describe('a request', () => {
  const { turns } = play(...TWO);

  it('leaves out what is not set', () => {
    expect(requestOf({ turns: turns.slice(0, 3), tools: ' ' }, DEFAULTS, undefined)).toEqual({
      messages: [
        { role: 'user', content: 'q1' },
        { role: 'assistant', content: 'a1' },
        { role: 'user', content: 'q2' },
      ],
    });
  });

  it('carries every setting, zero too', () => {
    const settings = { ...DEFAULTS, system: 'S', temperature: 0, topP: 0.5, maxTokens: 8, seed: 0 };
    const tools = '[{"type":"function","function":{"name":"f"}}]';
    expect(requestOf({ turns: turns.slice(0, 1), tools }, settings, 'pebble')).toEqual({
      model: 'pebble',
      messages: [
        { role: 'system', content: 'S' },
        { role: 'user', content: 'q1' },
      ],
      temperature: 0,
      top_p: 0.5,
      max_tokens: 8,
      seed: 0,
      tools: [{ type: 'function', function: { name: 'f' } }],
    });
  });

  it('refuses broken tools by name', () => {
    expect(() => requestOf({ turns, tools: '{' }, DEFAULTS, undefined)).toThrow('The tools cannot be read.');
    expect(() => readTools('[{}]')).toThrow('tool 1');
    expect(readTools('[]')).toBeUndefined();
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
  });

  it('come back from storage, or as defaults', () => {
    const mine = { ...DEFAULTS, system: 'x', temperature: 0.3, theme: 'dark' as const, model: 'pebble' };
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

  it('keeps a conversation; what was being written has stopped', () => {
    const storage = createStorage(memory(), memory());
    const state = play(...TWO, ask('q3'), said(6, text('half')));
    expect(storage.saveChat(state)).toBe(true);
    const back = reduce(EMPTY, { type: 'load', chat: storage.chat() });
    expect(words(back)).toEqual(words(state));
    expect(answer(back).status).toBe('stopped');
    expect((back.turns[3] as AnswerTurn).stats).toEqual((state.turns[3] as AnswerTurn).stats);
  });

  it('takes anything else for nothing', () => {
    for (const odd of [null, 1, [], {}, { turns: 3 }, { turns: [null, { role: 'robot', text: '' }, { role: 'user' }] }]) {
      expect(readChat(odd)).toEqual({ turns: [], tools: '' });
    }
    expect(
      readChat({ turns: [{ role: 'assistant', text: 'a', calls: [3], stats: { first: 'x', usage: { prompt: -1 } } }] }).turns[0],
    ).toMatchObject({
      calls: [],
      stats: { first: undefined, usage: { prompt: 0, completion: 0, cached: 0 } },
    });
  });

  it('says when there is no room', () => {
    const full = {
      ...memory(),
      setItem: () => {
        throw new Error('quota');
      },
    };
    expect(createStorage(full, full).saveChat(EMPTY)).toBe(false);
  });
});

describe('figures', () => {
  it('count tokens after the first', () => {
    const usage = { prompt: 10, completion: 101, cached: 0 };
    expect(rate({ first: 200, last: 1200, pieces: 50, usage })).toEqual({ perSecond: 100, exact: true });
    expect(rate({ first: 200, last: 1200, pieces: 51 })).toEqual({ perSecond: 50, exact: false });
    expect(rate({ first: 200, last: 200, pieces: 9 })).toBeUndefined();
    expect(rate({ pieces: 0 })).toBeUndefined();
  });

  it('read well', () => {
    expect([0.2, 84.4, 999.6, 1234, 9949, 14_400].map(duration)).toEqual(['1 ms', '84 ms', '1.0 s', '1.2 s', '9.9 s', '14 s']);
    const list = figures({ first: 84, last: 1084, pieces: 3, usage: { prompt: 20, completion: 11, cached: 16 } });
    expect(list.map(({ value, unit }) => `${value} ${unit}`)).toEqual(['10 tokens/s', '84 ms to first', '11 tokens', '16/20 cached']);
  });
});
