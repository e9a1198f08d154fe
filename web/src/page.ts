/** What the reader can do on the page beyond the open chat's own turns: chats as a whole, files, keys. */
import type { Chatting } from './chat.ts';
import type { Context } from './context.ts';
import type { Database, Draft } from './db.ts';
import { fileName, fromJson, save, toJson, toMarkdown } from './files.ts';
import { oldChat, readDraft, type Whole } from './records.ts';
import { type Chat, nameOf, newChat } from './state.ts';
import type { PageStorage } from './storage.ts';
import type { StateStore } from './store.ts';
import type { Sync } from './sync.ts';
import { newId } from './turns.ts';

export interface Page {
  chatting: Chatting;
  context: Context;
  /** False where the browser keeps nothing. */
  keeps: boolean;
  newChat(): void;
  open(id: string): Promise<void>;
  rename(chat: Chat, name: string): void;
  remove(chat: Chat): void;
  undo(): void;
  fromHere(): Promise<void>;
  search(words: string): Promise<Set<string> | undefined>;
  exportAll(): Promise<void>;
  exportChat(form: 'json' | 'md'): void;
  /** Throws an Error that says what is wrong with the file. */
  importFile(text: string): Promise<void>;
  draft(chat: string): Promise<Draft | undefined>;
  saveDraft(chat: string, draft: Draft): void;
  /** Before the page goes. */
  keepDraft(chat: string, draft: Draft): void;
}

export interface PageOptions {
  store: StateStore;
  storage: PageStorage;
  db: Database | undefined;
  sync: Sync;
  chatting: Chatting;
  context: Context;
}

export function createPage({ store, storage, db, sync, chatting, context }: PageOptions): Page {
  const wholeOf = (): Whole => ({ chat: store.get().chat, turns: store.get().turns });

  /** The address names the open chat, so that a reload, a bookmark and another tab find it. */
  function address(id: string | undefined): void {
    const next = id ? `#${id}` : location.pathname;
    if (location.hash !== (id ? next : '')) history.pushState(null, '', next);
  }

  function showChat(whole: Whole): void {
    chatting.leave();
    sync.show(whole);
    chatting.take();
  }

  function showNew(): void {
    const id = newId();
    storage.saveNewChat(id);
    showChat({ chat: newChat(id, store.get().settings.system, Date.now()), turns: [] });
  }

  async function open(id: string): Promise<void> {
    if (store.get().chat.id === id) return;
    await sync.flush();
    const whole = await sync.read(id);
    if (!whole) return showNew();
    address(id);
    showChat(whole);
  }

  // the chat's first turn gives it an address
  store.subscribe(({ chat, turns }) => {
    if (turns.length && location.hash !== `#${chat.id}`) history.replaceState(null, '', `#${chat.id}`);
  });
  addEventListener('popstate', () => {
    const id = location.hash.slice(1);
    if (id) void open(id);
    else if (store.get().turns.length) showNew();
  });

  async function start(): Promise<void> {
    const old = oldChat(storage.oldChat());
    if (old && db) {
      await sync.add([old]);
      storage.forgetOldChat();
      if (!location.hash) return open(old.chat.id);
    }
    const id = location.hash.slice(1);
    if (id) return open(id);
    const kept = storage.newChat();
    const { chat, turns } = store.get();
    if (kept && !turns.length) store.dispatch({ type: 'open', chat: { ...chat, id: kept }, turns });
    else if (!turns.length) storage.saveNewChat(chat.id);
  }
  void start();

  return {
    chatting,
    context,
    keeps: db !== undefined,
    newChat() {
      if (store.get().turns.length) address(undefined);
      showNew();
    },
    open,
    rename: (chat, name) => void sync.rename(chat, name),
    remove(chat) {
      if (store.get().chat.id === chat.id) {
        chatting.stop();
        address(undefined);
        showNew();
      }
      void sync.remove(chat);
    },
    undo() {
      const { undo } = store.get();
      if (undo) void sync.bringBack(undo).then(() => open(undo.id));
    },
    async fromHere() {
      const whole = context.fromHere();
      await sync.add([whole]);
      await open(whole.chat.id);
    },
    search: sync.search,
    async exportAll() {
      save(toJson(await sync.all()), fileName(`turnstone chats ${new Date().toISOString().slice(0, 10)}`, 'json'), 'application/json');
    },
    exportChat(form) {
      const whole = wholeOf();
      const name = fileName(nameOf(whole.chat), form);
      if (form === 'json') save(toJson([whole]), name, 'application/json');
      else save(toMarkdown(whole), name, 'text/markdown');
    },
    async importFile(text) {
      const wholes = fromJson(text);
      await sync.add(wholes);
      await open(wholes[0].chat.id);
    },
    draft: async (chat) => readDraft(storage.takeDraft(chat)) ?? db?.draft(chat).catch(() => undefined),
    keepDraft: (chat, draft) => void storage.keepDraft(chat, draft),
    saveDraft: (chat, draft) => void db?.saveDraft(chat, draft).catch(() => {}),
  };
}
