import type { Delta, Model, ToolCall, Usage } from './api.ts';
import type { ProblemInfo } from './problem.ts';
import { DEFAULTS, type Settings } from './settings.ts';

/** What was measured of one answer, in milliseconds after the request was sent. */
export interface Stats {
  first?: number; // first text or call
  last?: number;
  pieces: number; // deltas that carried text or calls
  usage?: Usage;
  route?: string; // where the prompt was computed, in the server's words
}

export interface UserTurn {
  id: number;
  role: 'user';
  text: string;
}
export interface AnswerTurn {
  id: number;
  role: 'assistant';
  text: string;
  calls: ToolCall[];
  status: 'waiting' | 'streaming' | 'done' | 'stopped' | 'failed';
  finish?: string;
  problem?: ProblemInfo;
  stats: Stats;
}
export interface ToolTurn {
  id: number;
  role: 'tool';
  callId: string;
  name: string;
  text: string;
}
export type Turn = UserTurn | AnswerTurn | ToolTurn;

/** What is kept over a reload. */
export interface Conversation {
  turns: Turn[];
  /** JSON array of the tools offered to the model, as text; empty: none. */
  tools: string;
}

/** What a new chat, an edit or a regenerated answer took away, to be brought back. */
export interface Undo extends Conversation {
  what: 'chat' | 'edit' | 'answer';
}

export interface State extends Conversation {
  undo?: Undo;
  settings: Settings;
  models: Model[];
  /** A problem here is about the server as a whole; one of an answer stays with the answer. */
  server: 'connecting' | 'ready' | ProblemInfo;
}

/** A delta and when it came, in milliseconds after the request was sent. */
export interface Timed {
  delta: Delta;
  at: number;
}

export type Action =
  | { type: 'ask'; text: string; tools?: string }
  | { type: 'edit'; id: number; text: string }
  | { type: 'again'; id: number }
  | { type: 'results'; results: { callId: string; name: string; text: string }[] }
  | { type: 'deltas'; id: number; deltas: Timed[] }
  | { type: 'ended'; id: number; status: 'done' | 'stopped' | 'failed'; problem?: ProblemInfo }
  | { type: 'clear' }
  | { type: 'undo' }
  | { type: 'load'; chat: Conversation }
  | { type: 'tools'; tools: string }
  | { type: 'settings'; settings: Partial<Settings> }
  | { type: 'server'; server: State['server']; models?: Model[] };

export const EMPTY: State = { turns: [], tools: '', settings: DEFAULTS, models: [], server: 'connecting' };

/** Everything that can happen to the page's state. Pure. */
export function reduce(state: State, action: Action): State {
  const { turns } = state;
  switch (action.type) {
    case 'ask':
      return {
        ...state,
        undo: undefined,
        tools: action.tools ?? state.tools,
        turns: withAnswer([...settled(turns), { id: nextId(turns), role: 'user', text: action.text }]),
      };
    case 'edit': {
      const at = turns.findIndex((turn) => turn.id === action.id && turn.role === 'user');
      if (at < 0) return state;
      return {
        ...state,
        undo: { what: 'edit', turns, tools: state.tools },
        turns: withAnswer([...turns.slice(0, at), { id: nextId(turns), role: 'user', text: action.text }], nextId(turns) + 1),
      };
    }
    case 'again': {
      const at = turns.findIndex((turn) => turn.id === action.id && turn.role === 'assistant');
      if (at < 0) return state;
      const lost = turns[at] as AnswerTurn;
      const worthKeeping = at < turns.length - 1 || lost.text !== '' || lost.calls.length > 0;
      return {
        ...state,
        undo: worthKeeping ? { what: 'answer', turns, tools: state.tools } : state.undo,
        turns: withAnswer(turns.slice(0, at), nextId(turns)),
      };
    }
    case 'results': {
      const id = nextId(turns);
      return {
        ...state,
        undo: undefined,
        turns: withAnswer([...turns, ...action.results.map((result, i): ToolTurn => ({ id: id + i, role: 'tool', ...result }))]),
      };
    }
    case 'deltas':
      return change(state, action.id, (answer) => action.deltas.reduce(grow, answer));
    case 'ended':
      return change(state, action.id, (answer) => ({ ...answer, status: action.status, problem: action.problem }));
    case 'clear':
      return turns.length ? { ...state, undo: { what: 'chat', turns, tools: state.tools }, turns: [], tools: '' } : { ...state, tools: '' };
    case 'undo':
      return state.undo ? { ...state, undo: undefined, turns: interrupted(state.undo.turns), tools: state.undo.tools } : state;
    case 'load':
      return { ...state, undo: undefined, turns: interrupted(action.chat.turns), tools: action.chat.tools };
    case 'tools':
      return { ...state, tools: action.tools };
    case 'settings':
      return { ...state, settings: { ...state.settings, ...action.settings } };
    case 'server':
      return { ...state, server: action.server, models: action.models ?? state.models };
  }
}

/** The answer being written, if one is. */
export function running(state: State): AnswerTurn | undefined {
  const last = state.turns.at(-1);
  return last?.role === 'assistant' && isRunning(last) ? last : undefined;
}

export const isRunning = (answer: AnswerTurn) => answer.status === 'waiting' || answer.status === 'streaming';

function change(state: State, id: number, edit: (answer: AnswerTurn) => AnswerTurn): State {
  const at = state.turns.findIndex((turn) => turn.id === id);
  const turn = state.turns[at];
  // An answer that was taken away, or has ended, no longer changes.
  if (turn?.role !== 'assistant' || !isRunning(turn)) return state;
  return { ...state, turns: state.turns.with(at, edit(turn)) };
}

/** One delta into the answer. */
function grow(answer: AnswerTurn, { delta, at }: Timed): AnswerTurn {
  const { stats } = answer;
  const seen = { ...stats, first: stats.first ?? at, last: at, pieces: stats.pieces + 1 };
  switch (delta.type) {
    case 'open':
      return { ...answer, stats: { ...stats, route: delta.route } };
    case 'text':
      return { ...answer, status: 'streaming', text: answer.text + delta.text, stats: seen };
    case 'tool': {
      const calls = [...answer.calls];
      while (calls.length <= delta.index) calls.push({ id: '', name: '', arguments: '' });
      const old = calls[delta.index];
      calls[delta.index] = {
        id: delta.id ?? old.id,
        name: old.name + (delta.name ?? ''),
        arguments: old.arguments + (delta.arguments ?? ''),
      };
      return { ...answer, status: 'streaming', calls, stats: seen };
    }
    case 'finish':
      return { ...answer, finish: delta.reason };
    case 'usage':
      return { ...answer, stats: { ...stats, usage: delta.usage } };
  }
}

function nextId(turns: Turn[]): number {
  return turns.reduce((most, turn) => Math.max(most, turn.id), 0) + 1;
}

function withAnswer(turns: Turn[], id = nextId(turns)): Turn[] {
  return [...turns, { id, role: 'assistant', text: '', calls: [], status: 'waiting', stats: { pieces: 0 } }];
}

/** Without a failed answer that said nothing at the end: the next question takes its place. */
function settled(turns: Turn[]): Turn[] {
  const last = turns.at(-1);
  return last?.role === 'assistant' && !last.text && !last.calls.length ? turns.slice(0, -1) : turns;
}

/** An answer that was being written when the page went away will not go on. */
function interrupted(turns: Turn[]): Turn[] {
  return turns.map((turn) => (turn.role === 'assistant' && isRunning(turn) ? { ...turn, status: 'stopped' } : turn));
}
