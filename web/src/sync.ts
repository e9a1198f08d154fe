/** Keeps the open chat in the database as it changes, and takes in what other tabs write. */
import type { Database } from './db.ts';
import type { Whole } from './records.ts';
import { type Chat, nameOf, running, type State } from './state.ts';
import type { StateStore } from './store.ts';
import type { Turn } from './turns.ts';

const SAVE_EVERY = 500; // ms, while an answer grows
const UNDO_MS = 60_000; // a deleted chat can be brought back so long

/** What tabs tell each other: that a chat changed, or that an answer is to be stopped by whoever writes it. */
export type Said = { chat: string } | { stop: string };
export type Channel = Pick<BroadcastChannel, 'postMessage' | 'addEventListener'>;

export interface Sync {
  /** Reads a chat; undefined when there is none of that name. */
  read(id: string): Promise<Whole | undefined>;
  /** Shows it. */
  show(whole: Whole): void;
  /** Writes what is not written yet. */
  flush(): Promise<void>;
  rename(chat: Chat, name: string): Promise<void>;
  remove(chat: Chat): Promise<void>;
  bringBack(chat: Chat): Promise<void>;
  add(wholes: readonly Whole[]): Promise<void>;
  all(): Promise<Whole[]>;
  search(words: string): Promise<Set<string> | undefined>;
  /** Tells whoever writes that answer to stop. */
  stop(turn: string): void;
}

export interface SyncOptions {
  store: StateStore;
  /** Undefined where the browser keeps nothing. */
  db: Database | undefined;
  channel: Channel | undefined;
  /** What the server kept of a chat that is gone for good. */
  onErased(turns: readonly Turn[]): void;
  onStop(turn: string): void;
  /** Another tab changed the open chat. */
  onMerged(): void;
}

export function createSync({ store, db, channel, onErased, onStop, onMerged }: SyncOptions): Sync {
  /** The open chat as the database has it. */
  let saved: Whole = { chat: store.get().chat, turns: [] };
  let queue: Promise<unknown> = Promise.resolve();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const say = (said: Said) => channel?.postMessage(said);

  function write(): void {
    clearTimeout(timer);
    timer = undefined;
    const { chat, turns } = store.get();
    if (!db || !turns.length) return;
    const before = new Map(saved.chat.id === chat.id ? saved.turns.map((turn) => [turn.id, turn]) : []);
    const put = turns.flatMap((turn, i) => (before.get(turn.id) === turn ? [] : [{ n: order(turns, i), turn }]));
    for (const turn of turns) before.delete(turn.id);
    const changed = difference(saved.chat, chat);
    if (!put.length && !before.size && !Object.keys(changed).length) return;
    if (put.length) changed.deleted = undefined; // whoever goes on with a chat wants it
    saved = { chat, turns };
    enqueue(() => db.write({ chat, changed, put, remove: [...before.keys()] }), chat.id);
  }

  function enqueue(work: () => Promise<unknown>, chat: string): Promise<unknown> {
    queue = queue
      .then(work)
      .then(() => say({ chat }))
      .then(relist)
      .catch((error: unknown) => {
        console.warn('The conversation could not be kept:', error);
        store.dispatch({ type: 'lost' });
      });
    return queue;
  }

  /** What another tab wrote is read; where that fails (the browser closed the database), this tab shows what it has. */
  function read(work: Promise<unknown>): void {
    work.catch((error: unknown) => console.warn('Another tab’s change could not be read:', error));
  }

  async function relist(): Promise<void> {
    if (!db) return;
    const chats = (await db.chats()).sort((a, b) => b.changed - a.changed);
    store.dispatch({ type: 'list', list: chats.filter((chat) => chat.deleted === undefined) });
  }

  async function merge(id: string): Promise<void> {
    await queue; // what counts as saved is in the database now; what is saved while it is read may not be in what was read
    const before = saved;
    const theirs = await db?.open(id);
    const { chat, turns } = store.get();
    if (!theirs || chat.id !== id) return;
    const known = new Map(before.turns.map((turn) => [turn.id, turn]));
    const dirty = new Map(turns.filter((turn) => known.get(turn.id) !== turn).map((turn) => [turn.id, turn]));
    const old = new Map(turns.map((turn) => [turn.id, turn]));
    // what did not change keeps its identity, so that it is not drawn again
    const same = (turn: Turn) => (JSON.stringify(old.get(turn.id)) === JSON.stringify(turn) ? (old.get(turn.id) as Turn) : turn);
    const kept = theirs.turns.map(same);
    const merged = kept.map((turn) => dirty.get(turn.id) ?? turn);
    for (const [turnId, turn] of dirty) if (!kept.some((other) => other.id === turnId)) merged.push(turn);
    saved = { chat: theirs.chat, turns: kept };
    store.dispatch({ type: 'merge', chat: { ...theirs.chat, ...difference(saved.chat, theirs.chat) }, turns: merged });
    saved = { ...saved, chat: { ...theirs.chat, leaf: store.get().chat.leaf } };
    onMerged();
  }

  let last: State = store.get();
  store.subscribe((state) => {
    const touched = state.turns !== last.turns || state.chat !== last.chat;
    // a question, and the name under which the server keeps its answer, are written at once; text may wait
    const waits = state.turns.length === last.turns.length && running(state)?.kept?.id === running(last)?.kept?.id;
    last = state;
    if (!touched) return;
    if (running(state) && waits) timer ??= setTimeout(write, SAVE_EVERY);
    else write();
  });
  channel?.addEventListener('message', ({ data }: MessageEvent<Said>) => {
    if ('stop' in data) return onStop(data.stop);
    read(relist());
    if (data.chat === store.get().chat.id) read(merge(data.chat));
  });

  /** Gone for good, with what the server keeps of it. */
  async function erase(chat: Chat): Promise<void> {
    const whole = await db?.open(chat.id);
    if (whole?.chat.deleted === undefined) return;
    await db?.erase(chat.id);
    onErased(whole.turns);
  }
  const clean = async () => {
    await relist();
    const now = Date.now();
    for (const chat of (await db?.chats()) ?? []) if (chat.deleted !== undefined && now - chat.deleted > UNDO_MS) await erase(chat);
  };
  read(clean());

  const touch = (chat: Chat, changed: Partial<Chat>): Promise<unknown> => {
    if (store.get().chat.id === chat.id) {
      store.dispatch({ type: 'chat', change: changed });
      saved = { ...saved, chat: { ...saved.chat, ...changed } };
    }
    return enqueue(async () => db?.write({ chat: { ...chat, ...changed }, changed, put: [], remove: [] }), chat.id);
  };

  return {
    async read(id) {
      await queue;
      return db?.open(id);
    },
    show(whole) {
      write();
      saved = whole;
      store.dispatch({ type: 'open', chat: whole.chat, turns: whole.turns });
    },
    async flush() {
      write();
      await queue;
    },
    rename: async (chat, name) => void (await touch(chat, { name: name.trim() })),
    async remove(chat) {
      const { undo } = store.get();
      store.dispatch({ type: 'undo', chat: { ...chat, name: nameOf(chat) } });
      await enqueue(async () => db?.write({ chat, changed: { deleted: Date.now() }, put: [], remove: [] }), chat.id);
      if (undo) await erase(undo);
    },
    async bringBack(chat) {
      store.dispatch({ type: 'undo' });
      await enqueue(async () => db?.write({ chat, changed: { deleted: undefined }, put: [], remove: [] }), chat.id);
    },
    async add(wholes) {
      for (const { chat, turns } of wholes) {
        const put = turns.map((turn, i) => ({ n: order(turns, i), turn }));
        await enqueue(async () => db?.write({ chat, changed: chat, put, remove: [] }), chat.id);
      }
    },
    async all() {
      write();
      await queue;
      const chats = ((await db?.chats()) ?? []).filter((chat) => chat.deleted === undefined);
      return (await Promise.all(chats.map((chat) => db?.open(chat.id)))).filter((whole): whole is Whole => whole !== undefined);
    },
    search: async (words) => db?.search(words),
    stop: (turn) => say({ stop: turn }),
  };
}

/** Position in the order of creation, over all tabs: the time, then the place in this tab's list. */
const order = (turns: readonly Turn[], i: number): number => Date.now() * 1024 + Math.min(i - turns.length + 1024, 1023);

function difference(from: Chat, to: Chat): Partial<Chat> {
  const names = new Set([...Object.keys(from), ...Object.keys(to)]) as Set<keyof Chat>;
  return Object.fromEntries([...names].filter((name) => from[name] !== to[name]).map((name) => [name, to[name]]));
}
