/** How full the model's context is, and what can be done when it is. */

import { contextOf, modelOf } from './chat.ts';
import type { Whole } from './records.ts';
import { type Asked, requestOf, sentTurns } from './request.ts';
import { nameOf, newChat, running, type State } from './state.ts';
import type { StateStore } from './store.ts';
import type { Transport, WireMessage } from './transport.ts';
import { newId, type Turn, wordsOf } from './turns.ts';

const COUNT_AFTER = 250; // ms of quiet
const SUMMARIZE =
  'Summarize our conversation so far in at most five short sentences. Keep names, numbers and decisions. Answer with the summary only.';

/** Tokens that a text has, about: by what the chat's own text had. */
export const aboutTokens = (text: string, perToken: number): number => Math.ceil(text.length / perToken);

/** Characters a token of this chat stands for, about; 3 where nothing was counted yet. */
export function charactersPerToken({ path, used }: Pick<State, 'path' | 'used'>): number {
  const characters = path.reduce((n, turn) => n + (turn.role === 'user' ? wordsOf(turn) : turn.text).length, 0);
  return used && used > 64 ? Math.min(6, Math.max(1, characters / used)) : 3;
}

export interface Room {
  used: number;
  total: number;
  /** What a question and its answer may take together. */
  left: number;
  /** Too little for an answer. */
  full: boolean;
}

/** The context's use with a draft; undefined while it is not known. */
export function roomOf(state: State, draft = ''): Room | undefined {
  const total = contextOf(state);
  if (total === undefined || (state.used === undefined && state.path.length)) return undefined;
  const used = Math.min(total, (state.used ?? 0) + aboutTokens(draft, charactersPerToken(state)));
  const left = total - used;
  return { used, total, left, full: left < Math.max(24, total / 64) };
}

export interface Context {
  /** Leaves the oldest turns out of what is sent, until half of the context is free. */
  leaveOut(): Promise<void>;
  /** The same, with the model's summary of them in their place. */
  summarize(signal: AbortSignal): Promise<void>;
  /** Sends everything again. */
  sendAll(): void;
  /** A new chat that begins with the last question and its answer. */
  fromHere(): Whole;
}

export function createContext(store: StateStore, transport: Transport): Context {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let abort: AbortController | undefined;
  let last: State | undefined;

  store.subscribe((state) => {
    const same = last && last.path === state.path && last.chat === state.chat && last.server === state.server;
    last = state;
    if (same) return;
    clearTimeout(timer);
    if (running(state) || state.server !== 'ready') return;
    timer = setTimeout(count, COUNT_AFTER);
  });

  async function count(): Promise<void> {
    abort?.abort();
    abort = new AbortController();
    const { signal } = abort;
    const state = store.get();
    if (!state.path.length && !state.chat.system) return store.dispatch({ type: 'used', used: 0 });
    try {
      const used = await size({ chat: state.chat, turns: answered(state.path) }, signal);
      if (!signal.aborted && store.get().path === state.path) store.dispatch({ type: 'used', used });
    } catch {
      // the gauge shows nothing then; whatever is wrong is said when a question is asked
    }
  }

  const size = (asked: Asked, signal?: AbortSignal): Promise<number> => {
    const state = store.get();
    return transport.count(requestOf(asked, state.settings, modelOf(state)), signal);
  };

  /** The earliest question from which what is sent takes at most `limit` tokens; the last question if none does. */
  async function cut(limit: number): Promise<Turn | undefined> {
    const { chat, path } = store.get();
    const turns = answered(path);
    const questions = sentTurns({ chat, turns }).filter((turn) => turn.role === 'user');
    let [low, high] = [1, questions.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      const fits = (await size({ chat: { ...chat, from: questions[middle].id }, turns })) <= limit;
      if (fits) high = middle;
      else low = middle + 1;
    }
    return questions[high];
  }

  async function leaveOut(): Promise<void> {
    const total = contextOf(store.get()) ?? 2048;
    const from = await cut(total / 2);
    if (from) store.dispatch({ type: 'chat', change: { from: from.id, summary: undefined } });
  }

  return {
    leaveOut,
    async summarize(signal) {
      const state = store.get();
      const total = contextOf(state) ?? 2048;
      const from = await cut(total * 0.4);
      if (!from) return;
      const room = Math.min(256, total >> 3);
      const older = state.path.slice(0, state.path.indexOf(from));
      const asked = { chat: state.chat, turns: older };
      let { messages } = requestOf(asked, state.settings, modelOf(state));
      const question: WireMessage = { role: 'user', content: SUMMARIZE };
      const model = modelOf(state);
      while (messages.length > 1 && (await transport.count({ model, messages: [...messages, question] })) > total - room)
        messages = messages.slice(Math.ceil(messages.length / 4));
      let summary = '';
      const request = { model, messages: [...messages, question], max_tokens: room, temperature: 0 };
      for await (const delta of transport.chat(request, signal)) if (delta.type === 'text') summary += delta.text;
      if (summary.trim() && store.get().chat.id === state.chat.id)
        store.dispatch({ type: 'chat', change: { from: from.id, summary: summary.trim() } });
    },
    sendAll: () => store.dispatch({ type: 'chat', change: { from: undefined, summary: undefined } }),
    fromHere() {
      const { chat, path } = store.get();
      const turns = answered(path);
      const at = turns.findLastIndex((turn) => turn.role === 'user');
      let parent: string | null = null;
      const copies = turns.slice(Math.max(0, at)).map((turn): Turn => {
        const copy = { ...turn, id: newId(), parent };
        parent = copy.id;
        if (copy.role !== 'assistant') return copy;
        const { kept: _, ...answer } = copy;
        return answer;
      });
      const next = newChat(newId(), chat.system, Date.now());
      return { chat: { ...next, name: `${nameOf(chat)}, continued`, tools: chat.tools, schema: chat.schema, leaf: parent }, turns: copies };
    },
  };
}

/** Without an answer at the end that said nothing. */
function answered(path: readonly Turn[]): readonly Turn[] {
  const last = path.at(-1);
  return last?.role === 'assistant' && !last.text && !last.calls.length ? path.slice(0, -1) : path;
}
