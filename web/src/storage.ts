import type { ToolCall, Usage } from './api.ts';
import { isRecord } from './json.ts';
import { readSettings, type Settings } from './settings.ts';
import type { AnswerTurn, Conversation, Turn } from './state.ts';

const CHAT = 'turnstone.chat.1';
const SETTINGS = 'turnstone.settings.1';
const KEY = 'turnstone.key';
const MAX_TURNS = 2000;
const MAX_TEXT = 1 << 20;

/** The part of the Web's Storage that is used. */
export type Store = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

/** Conversation and settings live in `local` and survive; the key lives in `session`, this tab only. */
export function createStorage(local: Store, session: Store) {
  return {
    chat: (): Conversation => readChat(parse(local.getItem(CHAT))),
    /** False where the browser has no room. */
    saveChat: ({ turns, tools }: Conversation): boolean => write(local, CHAT, JSON.stringify({ turns, tools })),
    settings: (): Settings => readSettings(parse(local.getItem(SETTINGS))),
    saveSettings: (settings: Settings): boolean => write(local, SETTINGS, JSON.stringify(settings)),
    key: (): string => session.getItem(KEY) ?? '',
    saveKey: (key: string): boolean => write(session, KEY, key),
    isChat: (name: string | null): boolean => name === CHAT,
  };
}

export type PageStorage = ReturnType<typeof createStorage>;

/** A conversation from storage; whatever is no turn is left out. */
export function readChat(stored: unknown): Conversation {
  if (!isRecord(stored)) return { turns: [], tools: '' };
  const list = Array.isArray(stored.turns) ? stored.turns : [];
  const turns = list.slice(-MAX_TURNS).flatMap((entry: unknown, i): Turn[] => {
    if (!isRecord(entry) || typeof entry.text !== 'string') return [];
    const id = i + 1;
    const text = entry.text.slice(0, MAX_TEXT);
    if (entry.role === 'user') return [{ id, role: 'user', text }];
    if (entry.role === 'tool') return [{ id, role: 'tool', text, callId: string(entry.callId), name: string(entry.name) }];
    if (entry.role === 'assistant') return [readAnswer(id, text, entry)];
    return [];
  });
  return { turns, tools: string(stored.tools) };
}

function readAnswer(id: number, text: string, entry: Record<string, unknown>): AnswerTurn {
  const calls = Array.isArray(entry.calls) ? entry.calls.slice(0, 64) : [];
  const stats = isRecord(entry.stats) ? entry.stats : {};
  return {
    id,
    role: 'assistant',
    text,
    calls: calls
      .filter(isRecord)
      .map((call): ToolCall => ({ id: string(call.id), name: string(call.name), arguments: string(call.arguments) })),
    // A fault is of its moment: what is left of it is an answer that stopped.
    status: entry.status === 'done' ? 'done' : 'stopped',
    finish: string(entry.finish) || undefined,
    stats: {
      first: number(stats.first),
      last: number(stats.last),
      pieces: number(stats.pieces) ?? 0,
      usage: isRecord(stats.usage) ? readUsage(stats.usage) : undefined,
      route: string(stats.route) || undefined,
    },
  };
}

const readUsage = (usage: Record<string, unknown>): Usage => ({
  prompt: number(usage.prompt) ?? 0,
  completion: number(usage.completion) ?? 0,
  cached: number(usage.cached) ?? 0,
});
const string = (value: unknown) => (typeof value === 'string' ? value.slice(0, MAX_TEXT) : '');
const number = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined);

function parse(text: string | null): unknown {
  try {
    return JSON.parse(text ?? 'null');
  } catch {
    return null;
  }
}

function write(store: Store, name: string, value: string): boolean {
  try {
    store.setItem(name, value);
    return true;
  } catch {
    return false;
  }
}
