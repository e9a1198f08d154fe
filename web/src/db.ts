/** Conversations in IndexedDB: one record a turn, so that tabs which write at the same time add to the same tree. */
import { type DBSchema, type IDBPDatabase, openDB } from 'idb';
import { readChat, readTurn } from './records.ts';
import type { Chat } from './state.ts';
import type { TextFile, Turn } from './turns.ts';

const NAME = 'turnstone';

export interface Draft {
  text: string;
  files: TextFile[];
}

/** A turn with the chat it belongs to. `n` keeps the order in which they were made. */
interface TurnRecord {
  id: string;
  chat: string;
  n: number;
  turn: Turn;
}

interface Schema extends DBSchema {
  chats: { key: string; value: Chat };
  turns: { key: string; value: TurnRecord; indexes: { chat: string } };
  drafts: { key: string; value: Draft };
}

export interface Change {
  /** Created with these when it is not there yet, else only these change: another tab may have renamed it meanwhile. */
  chat: Chat;
  changed: Partial<Chat>;
  put: { n: number; turn: Turn }[];
  remove: string[];
}

export interface Database {
  chats(): Promise<Chat[]>;
  open(id: string): Promise<{ chat: Chat; turns: Turn[] } | undefined>;
  turn(id: string): Promise<Turn | undefined>;
  write(change: Change): Promise<void>;
  /** Removes a chat with all that belongs to it. */
  erase(id: string): Promise<void>;
  draft(chat: string): Promise<Draft | undefined>;
  saveDraft(chat: string, draft: Draft | undefined): Promise<void>;
  /** Ids of chats in whose texts all the words stand. */
  search(words: string): Promise<Set<string>>;
  close(): void;
}

/** Opens the database; rejects where the browser keeps none (some private windows). */
export async function openDatabase(): Promise<Database> {
  const db = await openDB<Schema>(NAME, 1, {
    upgrade(db) {
      db.createObjectStore('chats', { keyPath: 'id' });
      db.createObjectStore('turns', { keyPath: 'id' }).createIndex('chat', 'chat');
      db.createObjectStore('drafts');
    },
    // another tab wants a newer version: let it
    blocking: (_old, _new, event) => (event.target as IDBDatabase).close(),
  });
  return wrap(db);
}

function wrap(db: IDBPDatabase<Schema>): Database {
  const turnsOf = async (chat: string): Promise<Turn[]> => {
    const records = await db.getAllFromIndex('turns', 'chat', chat);
    return records.sort((a, b) => a.n - b.n).flatMap((record) => readTurn(record.turn) ?? []);
  };
  return {
    close: () => db.close(),
    chats: async () => (await db.getAll('chats')).flatMap((chat) => readChat(chat) ?? []),
    async open(id) {
      const [chat, turns] = await Promise.all([db.get('chats', id), turnsOf(id)]);
      const read = readChat(chat);
      return read && { chat: read, turns };
    },
    turn: async (id) => readTurn((await db.get('turns', id))?.turn),
    async write({ chat, changed, put, remove }) {
      const t = db.transaction(['chats', 'turns'], 'readwrite');
      const chats = t.objectStore('chats');
      const turns = t.objectStore('turns');
      const old = await chats.get(chat.id);
      await chats.put(old ? { ...old, ...changed } : chat);
      for (const { n, turn } of put) {
        const there = await turns.get(turn.id);
        await turns.put({ id: turn.id, chat: chat.id, n: there?.n ?? n, turn });
      }
      for (const id of remove) await turns.delete(id);
      await t.done;
    },
    async erase(id) {
      const t = db.transaction(['chats', 'turns', 'drafts'], 'readwrite');
      await t.objectStore('chats').delete(id);
      await t.objectStore('drafts').delete(id);
      for (const key of await t.objectStore('turns').index('chat').getAllKeys(id)) await t.objectStore('turns').delete(key);
      await t.done;
    },
    draft: (chat) => db.get('drafts', chat),
    saveDraft: async (chat, draft) => {
      if (draft && (draft.text || draft.files.length)) await db.put('drafts', draft, chat);
      else await db.delete('drafts', chat);
    },
    async search(words) {
      const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
      const texts = new Map<string, string>();
      const add = (chat: string, text: string) => texts.set(chat, `${texts.get(chat) ?? ''}\n${text.toLowerCase()}`);
      for (const chat of await db.getAll('chats')) add(chat.id, `${chat.name} ${chat.words}`);
      for (let cursor = await db.transaction('turns').store.openCursor(); cursor; cursor = await cursor.continue())
        add(cursor.value.chat, cursor.value.turn.text);
      return new Set([...texts].filter(([, text]) => wanted.every((word) => text.includes(word))).map(([id]) => id));
    },
  };
}
