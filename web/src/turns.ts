/** A conversation is a tree of turns: an edit or a regenerated answer is another child of the same parent, and nothing is lost. */

import type { ProblemInfo } from './problem.ts';
import type { Kept, Timings, ToolCall, Usage } from './transport.ts';

/** What was measured of one answer, in milliseconds after the request was sent. */
export interface Stats {
  first?: number; // first text or call
  last?: number;
  pieces: number; // deltas that carried text or calls
  usage?: Usage;
  /** Where the prompt was computed, in the server's words. */
  route?: string;
  /** From the server's decision to its first token, by the server's clock, ms. */
  served?: number;
  /** By the server's clock; of what it generated last, where the answer was continued or taken over. */
  timings?: Timings;
  /** Tokens of the answer before it was continued: `usage` counts what followed. */
  before?: number;
  /** The answer came in several pieces (a reload, a lost connection, "Continue"): times of the first say nothing of the whole. */
  broken?: true;
}

/** A text file that goes with a question. */
export interface TextFile {
  name: string;
  text: string;
}

interface Node {
  id: string;
  parent: string | null;
}
export interface UserTurn extends Node {
  role: 'user';
  text: string;
  files?: TextFile[];
}
/** `stopped` by the reader; `cut` when the page went away and nobody kept the answer; `repeating` by the page, since it repeated itself. */
export type Status = 'waiting' | 'streaming' | 'done' | 'stopped' | 'cut' | 'repeating' | 'failed';
export interface AnswerTurn extends Node {
  role: 'assistant';
  text: string;
  calls: ToolCall[];
  status: Status;
  finish?: string;
  problem?: ProblemInfo;
  stats: Stats;
  kept?: Kept;
  /** The reader changed the text. */
  edited?: true;
  /** The connection is lost and being tried again. */
  away?: true;
}
export interface ToolTurn extends Node {
  role: 'tool';
  callId: string;
  name: string;
  text: string;
}
export type Turn = UserTurn | AnswerTurn | ToolTurn;

export const isRunning = (turn: Turn): boolean => turn.role === 'assistant' && (turn.status === 'waiting' || turn.status === 'streaming');

/** Name of a new turn or chat; made without `randomUUID`, which plain http pages lack. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, '0')).join('');
}

/** The turns from the first one to `leaf`. A parent that is missing ends it. */
export function pathTo(turns: readonly Turn[], leaf: string | null): Turn[] {
  const byId = new Map(turns.map((turn) => [turn.id, turn]));
  const path: Turn[] = [];
  for (let at = leaf === null ? undefined : byId.get(leaf); at; at = at.parent === null ? undefined : byId.get(at.parent)) {
    path.push(at);
    byId.delete(at.id); // a damaged tree has no circles either
  }
  return path.reverse();
}

/** The turn and its alternatives, oldest first. */
export const siblings = (turns: readonly Turn[], turn: Turn): Turn[] =>
  turns.filter((other) => other.parent === turn.parent && other.role === turn.role);

/** The end of the newest branch below a turn. */
export function leafUnder(turns: readonly Turn[], id: string): string {
  let leaf = id;
  for (const turn of turns) if (turn.parent === leaf) leaf = newestChild(turns, leaf);
  return leaf;
}

function newestChild(turns: readonly Turn[], id: string): string {
  return turns.findLast((turn) => turn.parent === id)?.id ?? id;
}

/** What the model reads of a question: its files first. */
export function wordsOf({ text, files }: Pick<UserTurn, 'text' | 'files'>): string {
  const parts = (files ?? []).map((file) => {
    const fence = '`'.repeat(Math.max(3, ...[...file.text.matchAll(/`+/g)].map(([ticks]) => ticks.length + 1)));
    return `${file.name}:\n${fence}\n${file.text}\n${fence}`;
  });
  return [...parts, text].filter(Boolean).join('\n\n');
}

/** An answer's reasoning (between think tags at its beginning) and what follows. */
export function reasoningOf(text: string): { reasoning?: string; rest: string; open: boolean } {
  const start = /^\s*<think(?:ing)?>/.exec(text);
  if (!start) return { rest: text, open: false };
  const end = /<\/think(?:ing)?>/.exec(text);
  if (!end) return { reasoning: text.slice(start[0].length), rest: '', open: true };
  return { reasoning: text.slice(start[0].length, end.index).trim(), rest: text.slice(end.index + end[0].length).trimStart(), open: false };
}
