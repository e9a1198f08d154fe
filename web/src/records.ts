/** Chats and turns out of storage or a file: whatever is none is left out, every text and number bounded. */

import { isRecord } from './json.ts';
import type { Chat } from './state.ts';
import type { Kept, Timings, ToolCall, Usage } from './transport.ts';
import { type AnswerTurn, newId, type TextFile, type Turn } from './turns.ts';

const MAX_TEXT = 4 << 20;
const MAX_TURNS = 20_000;

export function readChat(value: unknown): Chat | undefined {
  if (!isRecord(value) || !isId(value.id)) return undefined;
  return {
    id: value.id,
    name: string(value.name).slice(0, 200),
    created: number(value.created) ?? 0,
    changed: number(value.changed) ?? 0,
    words: string(value.words).slice(0, 200),
    system: string(value.system),
    tools: string(value.tools),
    schema: string(value.schema),
    leaf: isId(value.leaf) ? value.leaf : null,
    from: isId(value.from) ? value.from : undefined,
    summary: string(value.summary) || undefined,
    deleted: number(value.deleted),
  };
}

export function readTurn(value: unknown): Turn | undefined {
  if (!isRecord(value) || !isId(value.id) || typeof value.text !== 'string') return undefined;
  const base = { id: value.id, parent: isId(value.parent) ? value.parent : null, text: value.text.slice(0, MAX_TEXT) };
  switch (value.role) {
    case 'user': {
      const files = (Array.isArray(value.files) ? value.files.slice(0, 64) : []).filter(isRecord).map(readFile);
      return { ...base, role: 'user', ...(files.length && { files }) };
    }
    case 'tool':
      return { ...base, role: 'tool', callId: string(value.callId), name: string(value.name) };
    case 'assistant':
      return readAnswer(base, value);
    default:
      return undefined;
  }
}

const readFile = (file: Record<string, unknown>): TextFile => ({ name: string(file.name).slice(0, 200), text: string(file.text) });

export function readDraft(value: unknown): { text: string; files: TextFile[] } | undefined {
  if (!isRecord(value)) return undefined;
  const files = (Array.isArray(value.files) ? value.files.slice(0, 64) : []).filter(isRecord).map(readFile);
  return { text: string(value.text), files };
}

const STATUS = new Set<unknown>(['waiting', 'streaming', 'done', 'stopped', 'cut', 'repeating']);

function readAnswer(base: { id: string; parent: string | null; text: string }, entry: Record<string, unknown>): AnswerTurn {
  const calls = Array.isArray(entry.calls) ? entry.calls.slice(0, 64) : [];
  const stats = isRecord(entry.stats) ? entry.stats : {};
  return {
    ...base,
    role: 'assistant',
    calls: calls.filter(isRecord).map(
      (call, i): ToolCall => ({
        index: number(call.index) ?? i,
        id: string(call.id),
        name: string(call.name),
        arguments: string(call.arguments),
      }),
    ),
    // a fault is of its moment: what is left of it is an answer that was cut off
    status: STATUS.has(entry.status) ? (entry.status as AnswerTurn['status']) : 'cut',
    finish: string(entry.finish) || undefined,
    stats: {
      first: number(stats.first),
      last: number(stats.last),
      pieces: number(stats.pieces) ?? 0,
      usage: isRecord(stats.usage) ? readUsage(stats.usage) : undefined,
      route: string(stats.route) || undefined,
      served: number(stats.served),
      timings: isRecord(stats.timings) ? readTimings(stats.timings) : undefined,
      before: number(stats.before),
      ...(stats.broken === true && { broken: true }),
    },
    kept: isRecord(entry.kept) ? readKept(entry.kept) : undefined,
    ...(entry.edited === true && { edited: true }),
  };
}

function readKept(kept: Record<string, unknown>): Kept | undefined {
  if (typeof kept.id !== 'string' || !/^[\w.~:-]{1,256}$/.test(kept.id) || !Number.isInteger(kept.seq)) return undefined;
  return { id: kept.id, seq: kept.seq as number, ...(isId(kept.from) && { from: kept.from }) };
}

const readUsage = (usage: Record<string, unknown>): Usage => ({
  prompt: number(usage.prompt) ?? 0,
  completion: number(usage.completion) ?? 0,
  cached: number(usage.cached) ?? 0,
});
const readTimings = ({ prefill, decode }: Record<string, unknown>): Timings => ({ prefill: readPart(prefill), decode: readPart(decode) });
const readPart = (part: unknown) =>
  isRecord(part) ? { tokens: number(part.tokens) ?? 0, ms: number(part.ms) ?? 0 } : { tokens: 0, ms: 0 };
const isId = (value: unknown): value is string => typeof value === 'string' && /^[\w-]{1,64}$/.test(value);
const string = (value: unknown) => (typeof value === 'string' ? value.slice(0, MAX_TEXT) : '');
const number = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined);

export interface Whole {
  chat: Chat;
  turns: Turn[];
}

/**
 * A chat from a file, under names of its own, so that importing twice makes two. What the server keeps stays with the page that
 * asked for it. Undefined when the value is no chat.
 */
export function importChat(value: unknown): Whole | undefined {
  if (!isRecord(value)) return undefined;
  const chat = readChat(value.chat);
  if (!chat || !Array.isArray(value.turns)) return undefined;
  const turns = value.turns.slice(0, MAX_TURNS).flatMap((turn) => readTurn(turn) ?? []);
  const names = new Map(turns.map((turn) => [turn.id, newId()]));
  const named = (id: string | null | undefined) => (id && names.get(id)) || null;
  return {
    chat: {
      ...chat,
      created: chat.created || Date.now(),
      changed: chat.changed || Date.now(),
      id: newId(),
      leaf: named(chat.leaf),
      from: named(chat.from) ?? undefined,
      deleted: undefined,
    },
    turns: turns.map((turn) => {
      const copy = { ...turn, id: named(turn.id) as string, parent: named(turn.parent) };
      if (copy.role !== 'assistant') return copy;
      const { kept: _, ...answer } = copy;
      return { ...answer, status: answer.status === 'waiting' || answer.status === 'streaming' ? 'cut' : answer.status };
    }),
  };
}

/** The one conversation that earlier versions of the page kept in localStorage. */
export function oldChat(stored: unknown): Whole | undefined {
  if (!isRecord(stored) || !Array.isArray(stored.turns)) return undefined;
  let parent: string | null = null;
  const turns = stored.turns.slice(-MAX_TURNS).flatMap((entry: unknown): Turn[] => {
    const turn = isRecord(entry) ? readTurn({ ...entry, id: newId(), parent }) : undefined;
    if (turn) parent = turn.id;
    return turn ? [turn] : [];
  });
  if (!turns.length) return undefined;
  const now = Date.now();
  const first = turns.find((turn) => turn.role === 'user')?.text ?? '';
  const words = first.trim().replace(/\s+/g, ' ').slice(0, 60);
  const chat = {
    id: newId(),
    name: '',
    created: now,
    changed: now,
    words,
    system: '',
    tools: string(stored.tools),
    schema: '',
    leaf: parent,
  };
  return { chat, turns };
}
