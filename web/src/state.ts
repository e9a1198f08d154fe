import type { ProblemInfo } from './problem.ts';
import { DEFAULTS, type Settings } from './settings.ts';
import type { Delta, Model } from './transport.ts';
import { type AnswerTurn, isRunning, leafUnder, pathTo, type Status, type TextFile, type ToolTurn, type Turn } from './turns.ts';

/** A conversation without its turns. */
export interface Chat {
  id: string;
  /** Given by hand; empty: its first words. */
  name: string;
  /** ms since 1970. */
  created: number;
  changed: number;
  /** First words of the first question. */
  words: string;
  system: string;
  /** JSON array of the tools offered to the model, as text; empty: none. */
  tools: string;
  /** JSON schema that answers must follow, as text; empty: none. */
  schema: string;
  /** The end of the branch that is shown. */
  leaf: string | null;
  /** The first turn that is sent; earlier ones were left out to make room. */
  from?: string;
  /** What was before `from`, in the model's words. */
  summary?: string;
  /** ms since 1970: taken from the list, to be brought back or removed for good. */
  deleted?: number;
}

export interface State {
  chat: Chat;
  /** All branches, oldest turn first. */
  turns: Turn[];
  /** What is shown: from the first turn to the chat's leaf. */
  path: Turn[];
  list: Chat[];
  /** The chat that was just deleted. */
  undo?: Chat;
  settings: Settings;
  models: Model[];
  /** A problem here is about the server as a whole; one of an answer stays with the answer. */
  server: 'connecting' | 'loading' | 'ready' | ProblemInfo;
  /** The browser did not take the last change: it has no room. */
  lost?: true;
  /** Tokens of what would be sent now without a new question; undefined while not known. */
  used?: number;
}

/** A delta and when it came, in milliseconds after the request was sent. */
export interface Timed {
  delta: Delta;
  at: number;
}

export type Action =
  | { type: 'ask'; text: string; files?: TextFile[]; tools?: string; ids: [question: string, answer: string]; at: number }
  | { type: 'edit'; id: string; text: string; ids: [question: string, answer: string]; at: number }
  | { type: 'rewrite'; id: string; text: string; as: string; at: number }
  | { type: 'again'; id: string; as: string; at: number }
  | { type: 'results'; results: { id: string; callId: string; name: string; text: string }[]; answer: string; at: number }
  | { type: 'continue'; id: string }
  | { type: 'resume'; id: string }
  /** The answer as it is kept, to go on with. */
  | { type: 'take'; answer: AnswerTurn }
  | { type: 'deltas'; id: string; deltas: Timed[] }
  | { type: 'away'; id: string; away: boolean }
  | { type: 'ended'; id: string; status: Exclude<Status, 'waiting' | 'streaming'>; problem?: ProblemInfo }
  | { type: 'pick'; id: string }
  | { type: 'open'; chat: Chat; turns: Turn[] }
  | { type: 'merge'; chat: Chat; turns: Turn[] }
  | { type: 'chat'; change: Partial<Chat> }
  | { type: 'list'; list: Chat[] }
  | { type: 'undo'; chat?: Chat }
  | { type: 'used'; used?: number }
  | { type: 'lost' }
  | { type: 'settings'; settings: Partial<Settings> }
  | { type: 'server'; server: State['server']; models?: Model[] };

export const newChat = (id: string, system = '', now = 0): Chat => ({
  ...{ id, name: '', created: now, changed: now, words: '', system },
  ...{ tools: '', schema: '', leaf: null },
});

export const EMPTY: State = {
  ...{ chat: newChat('0'), turns: [], path: [], list: [] },
  ...{ settings: DEFAULTS, models: [], server: 'connecting' },
};

/** Everything that can happen to the page's state. Pure: names of turns and times come with the action. */
export function reduce(state: State, action: Action): State {
  const { turns, chat } = state;
  switch (action.type) {
    case 'ask': {
      const { text, files, ids, at } = action;
      const kept = settled(state);
      const question: Turn = { id: ids[0], parent: kept.leaf, role: 'user', text, ...(files?.length && { files }) };
      const words = chat.words || firstWords(text || (files?.[0]?.name ?? ''));
      return grown(state, [...kept.turns, question, emptyAnswer(ids[1], ids[0])], ids[1], {
        changed: at,
        words,
        tools: action.tools ?? chat.tools,
      });
    }
    case 'edit': {
      const old = turns.find((turn) => turn.id === action.id);
      if (old?.role !== 'user') return state;
      const [question, answer] = action.ids;
      const words = old.parent === null ? firstWords(action.text) : chat.words;
      const edited: Turn = { ...old, id: question, text: action.text };
      return grown(state, [...turns, edited, emptyAnswer(answer, question)], answer, { changed: action.at, words });
    }
    case 'rewrite': {
      const old = turns.find((turn) => turn.id === action.id);
      if (old?.role !== 'assistant' || isRunning(old)) return state;
      const { kept: _, problem: __, finish: ___, ...rest } = old;
      const edited: AnswerTurn = { ...rest, id: action.as, text: action.text, status: 'done', edited: true, stats: { pieces: 0 } };
      return grown(state, [...turns, edited], action.as, { changed: action.at });
    }
    case 'again': {
      const old = turns.find((turn) => turn.id === action.id);
      if (old?.role !== 'assistant') return state;
      const rest = saidNothing(old) ? turns.filter((turn) => turn !== old) : turns;
      return grown(state, [...rest, emptyAnswer(action.as, old.parent)], action.as, { changed: action.at });
    }
    case 'results': {
      let parent = chat.leaf;
      const results = action.results.map((result): ToolTurn => {
        const turn: ToolTurn = { ...result, parent, role: 'tool' };
        parent = turn.id;
        return turn;
      });
      return grown(state, [...turns, ...results, emptyAnswer(action.answer, parent)], action.answer, { changed: action.at });
    }
    case 'continue':
      return change(state, action.id, ({ kept: _, problem: __, finish: ___, ...answer }) => ({
        ...answer,
        status: 'streaming',
        stats: continued(answer.stats),
      }));
    case 'resume':
      return change(state, action.id, ({ problem: _, ...answer }) => ({
        ...answer,
        status: answer.text || answer.calls.length ? 'streaming' : 'waiting',
        stats: { ...answer.stats, broken: true },
      }));
    case 'take':
      return change(state, action.answer.id, () => ({ ...action.answer, stats: { ...action.answer.stats, broken: true } }));
    case 'deltas':
      return live(state, action.id, (answer) => action.deltas.reduce(grow, answer));
    case 'away':
      return live(state, action.id, ({ away: _, ...answer }) => (action.away ? { ...answer, away: true } : answer));
    case 'ended':
      return live(state, action.id, ({ away: _, ...answer }) => ({ ...answer, status: action.status, problem: action.problem }));
    case 'pick':
      return grown(state, turns, leafUnder(turns, action.id), {});
    case 'open':
      return shown({ ...state, turns: action.turns, chat: action.chat, used: undefined });
    case 'merge': {
      // another tab went on: follow it, unless the reader is on another branch here
      const { turns: merged, chat: theirs } = action;
      const follows = pathTo(merged, theirs.leaf).some((turn) => turn.id === chat.leaf);
      const here = !follows && merged.some((turn) => turn.id === chat.leaf);
      return shown({ ...state, turns: merged, chat: { ...theirs, leaf: here ? chat.leaf : theirs.leaf } });
    }
    case 'chat':
      return { ...state, chat: { ...chat, ...action.change } };
    case 'list':
      return { ...state, list: action.list };
    case 'undo':
      return { ...state, undo: action.chat };
    case 'lost':
      return { ...state, lost: true };
    case 'used':
      return { ...state, used: action.used };
    case 'settings':
      return { ...state, settings: { ...state.settings, ...action.settings } };
    case 'server':
      return { ...state, server: action.server, models: action.models ?? state.models };
  }
}

/** The answer being written, if one is. */
export function running(state: State): AnswerTurn | undefined {
  const last = state.path.at(-1);
  return last?.role === 'assistant' && isRunning(last) ? last : undefined;
}

/** The name a chat has in the list. */
export const nameOf = (chat: Chat): string => chat.name || chat.words || 'New chat';

export function firstWords(text: string): string {
  const line = text.trim().replace(/\s+/g, ' ');
  return line.length <= 60 ? line : `${line.slice(0, 60).replace(/\s+\S*$/, '')}…`;
}

const shown = (state: State): State => ({ ...state, path: pathTo(state.turns, state.chat.leaf) });

const grown = (state: State, turns: Turn[], leaf: string, chat: Partial<Chat>): State =>
  shown({ ...state, turns, chat: { ...state.chat, ...chat, leaf } });

const emptyAnswer = (id: string, parent: string | null): AnswerTurn => ({
  ...{ id, parent, role: 'assistant', text: '', calls: [], status: 'waiting', stats: { pieces: 0 } },
});

/** Its times say nothing of what follows; its tokens are counted on. */
const continued = ({ pieces, route, usage, before = 0 }: AnswerTurn['stats']): AnswerTurn['stats'] => ({
  ...{ pieces, route, broken: true, before: usage ? before + usage.completion : undefined },
});

const saidNothing = (answer: AnswerTurn) => !answer.text && !answer.calls.length && !isRunning(answer);

/** Without an answer that said nothing at the end: the next question takes its place. */
function settled({ turns, path, chat }: State): { turns: Turn[]; leaf: string | null } {
  const last = path.at(-1);
  if (last?.role !== 'assistant' || !saidNothing(last)) return { turns, leaf: chat.leaf };
  return { turns: turns.filter((turn) => turn !== last), leaf: last.parent };
}

function change(state: State, id: string, edit: (answer: AnswerTurn) => AnswerTurn): State {
  const at = state.turns.findLastIndex((turn) => turn.id === id);
  const turn = state.turns[at];
  if (turn?.role !== 'assistant') return state;
  const edited = edit(turn);
  if (edited === turn) return state;
  const shownAt = state.path.findLastIndex((other) => other.id === id);
  return { ...state, turns: state.turns.with(at, edited), path: shownAt < 0 ? state.path : state.path.with(shownAt, edited) };
}

/** An answer that has ended no longer changes. */
function live(state: State, id: string, edit: (answer: AnswerTurn) => AnswerTurn): State {
  return change(state, id, (answer) => (isRunning(answer) ? edit(answer) : answer));
}

/** One delta into the answer. */
function grow(answer: AnswerTurn, { delta, at }: Timed): AnswerTurn {
  const { stats } = answer;
  const seen = { ...stats, first: stats.first ?? at, last: at, pieces: stats.pieces + 1 };
  switch (delta.type) {
    case 'open':
      return { ...answer, stats: { ...stats, route: delta.route ?? stats.route } };
    case 'kept':
      return { ...answer, kept: { ...answer.kept, ...delta.kept } };
    case 'seq':
      return answer.kept ? { ...answer, kept: { ...answer.kept, seq: delta.seq } } : answer;
    case 'text':
      return { ...answer, status: 'streaming', text: answer.text + delta.text, stats: seen };
    case 'tool': {
      const i = answer.calls.findIndex((call) => call.index === delta.index);
      const old = answer.calls[i] ?? { index: delta.index, id: '', name: '', arguments: '' };
      const call = {
        ...old,
        id: delta.id ?? old.id,
        name: old.name + (delta.name ?? ''),
        arguments: old.arguments + (delta.arguments ?? ''),
      };
      return { ...answer, status: 'streaming', calls: i < 0 ? [...answer.calls, call] : answer.calls.with(i, call), stats: seen };
    }
    case 'finish':
      return { ...answer, finish: delta.reason };
    case 'usage':
      return { ...answer, stats: { ...stats, usage: delta.usage } };
    case 'timing':
      return { ...answer, stats: { ...stats, route: delta.route ?? stats.route, served: delta.first, timings: delta.timings } };
  }
}
