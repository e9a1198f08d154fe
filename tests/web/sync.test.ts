/** Two tabs over one database: nothing that either wrote is lost. */
import 'fake-indexeddb/auto';
import { deleteDB } from 'idb';
import { afterEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../web/src/db.ts';
import { fromJson, toJson, toMarkdown } from '../../web/src/files.ts';
import { loopOf } from '../../web/src/loops.ts';
import { oldChat, readTurn, type Whole } from '../../web/src/records.ts';
import { EMPTY, nameOf, newChat } from '../../web/src/state.ts';
import { createStore } from '../../web/src/store.ts';
import { createSync, type Said, type Sync } from '../../web/src/sync.ts';
import type { AnswerTurn, Turn } from '../../web/src/turns.ts';

const open: { close(): void }[] = [];
const syncs: Sync[] = [];
afterEach(async () => {
  for (const sync of syncs.splice(0)) await sync.flush();
  for (const thing of open.splice(0)) thing.close();
  await deleteDB('turnstone');
});

async function tab(erased: string[] = []) {
  const db = await openDatabase();
  const channel = new BroadcastChannel('turnstone-test');
  open.push(channel, { close: () => db.close() });
  const store = createStore({ ...EMPTY, chat: newChat('c1', '', 1) });
  const sync = createSync({
    ...{
      store,
      db,
      channel: channel as never as { postMessage(said: Said): void; addEventListener: BroadcastChannel['addEventListener'] },
    },
    onErased: (turns) => erased.push(...turns.flatMap((turn) => (turn.role === 'assistant' && turn.kept ? turn.kept.id : []))),
    onStop: () => {},
    onMerged: () => {},
  });
  syncs.push(sync);
  return { store, sync, db };
}
type Tab = Awaited<ReturnType<typeof tab>>;

let n = 0;
async function say({ store, sync }: Tab, question: string, answer: string): Promise<void> {
  const id = `a${++n}`;
  store.dispatch({ type: 'ask', text: question, ids: [`q${n}`, id], at: n });
  store.dispatch({ type: 'deltas', id, deltas: [{ delta: { type: 'kept', kept: { id: `resp_${n}`, seq: 1 } }, at: 1 }] });
  store.dispatch({ type: 'deltas', id, deltas: [{ delta: { type: 'text', text: answer }, at: 1 }] });
  store.dispatch({ type: 'ended', id, status: 'done' });
  await sync.flush();
}
const texts = (turns: readonly Turn[]) => turns.map((turn) => turn.text);
const stored = async (db: Database) => ((await db.open('c1')) as Whole).turns;

describe('chats in the database', () => {
  it('come back as they were', async () => {
    const one = await tab();
    await say(one, 'q', 'a');
    const two = await tab();
    const whole = (await two.sync.read('c1')) as Whole;
    expect(whole.turns).toEqual(one.store.get().turns);
    expect(nameOf(whole.chat)).toBe('q');
    await expect.poll(() => two.store.get().list.map(nameOf)).toEqual(['q']);
  });

  it('lose nothing when two tabs go on with one chat at the same time', async () => {
    const one = await tab();
    await say(one, 'q', 'a');
    const two = await tab();
    two.sync.show((await two.sync.read('c1')) as Whole);
    await Promise.all([say(one, 'from one', 'to one'), say(two, 'from two', 'to two')]);
    await expect.poll(async () => texts(await stored(one.db)).sort()).toEqual(['a', 'from one', 'from two', 'q', 'to one', 'to two']);
    for (const { store } of [one, two]) await expect.poll(() => store.get().turns.length).toBe(6);
    // each shows its own branch, and the other as an alternative
    expect(texts(one.store.get().path)).toEqual(['q', 'a', 'from one', 'to one']);
    expect(texts(two.store.get().path)).toEqual(['q', 'a', 'from two', 'to two']);
  });

  it('keep a name that another tab gave while this one wrote', async () => {
    const one = await tab();
    await say(one, 'q', 'a');
    const two = await tab();
    await two.sync.rename(one.store.get().chat, 'Named');
    await say(one, 'q2', 'a2');
    await expect.poll(() => one.store.get().chat.name).toBe('Named');
    expect((await one.db.open('c1'))?.chat.name).toBe('Named');
  });

  it('keep what this tab wrote while it read what another one wrote', async () => {
    const one = await tab();
    await say(one, 'q', 'a');
    one.store.dispatch({ type: 'ask', text: 'more', ids: ['q77', 'a77'], at: 5 });
    await one.sync.flush();
    const two = await tab();
    const read = one.db.open;
    let begun = () => {};
    let go = () => {};
    const reading = new Promise<void>((resolve) => (begun = resolve));
    const gate = new Promise<void>((resolve) => (go = resolve));
    one.db.open = async (id) => {
      const whole = await read(id);
      begun();
      await gate;
      return whole;
    };
    await two.sync.rename(one.store.get().chat, 'Named');
    await reading; // the answer, as it was begun
    one.store.dispatch({ type: 'ended', id: 'a77', status: 'done' });
    await one.sync.flush();
    go();
    await expect.poll(() => one.store.get().chat.name).toBe('Named');
    expect((one.store.get().path.at(-1) as AnswerTurn).status).toBe('done');
    await one.sync.flush();
    expect(((await stored(two.db)).at(-1) as AnswerTurn).status).toBe('done');
  });

  it('follow an answer that grows in another tab', async () => {
    const one = await tab();
    await say(one, 'q', 'a');
    const two = await tab();
    two.sync.show((await two.sync.read('c1')) as Whole);
    one.store.dispatch({ type: 'ask', text: 'more', ids: ['q99', 'a99'], at: 5 });
    one.store.dispatch({ type: 'deltas', id: 'a99', deltas: [{ delta: { type: 'text', text: 'half' }, at: 1 }] });
    await expect.poll(() => texts(two.store.get().path)).toEqual(['q', 'a', 'more', 'half']);
    expect((two.store.get().path.at(-1) as AnswerTurn).status).toBe('streaming');
  });

  it('are deleted, brought back, and then gone with what the server kept', async () => {
    const erased: string[] = [];
    const one = await tab(erased);
    await say(one, 'q', 'a');
    const { chat } = one.store.get();
    await one.sync.remove(chat);
    expect(one.store.get()).toMatchObject({ list: [], undo: { id: 'c1' } });
    await one.sync.bringBack(chat);
    await expect.poll(() => one.store.get().list).toHaveLength(1);
    expect(await stored(one.db)).toHaveLength(2);
    await one.sync.remove(chat);
    await one.sync.remove(newChat('other', '', 1)); // the next one ends the first one's undo
    await expect.poll(() => one.db.open('c1')).toBeUndefined();
    expect(erased).toEqual([`resp_${n}`]);
  });

  it('are found by words of their name and of their turns', async () => {
    const { db, ...one } = await tab();
    await say({ db, ...one }, 'Where do turnstones live?', 'On Rocky shores.');
    expect([...(await db.search('rocky TURNSTONES'))]).toEqual(['c1']);
    expect([...(await db.search('rocky owls'))]).toEqual([]);
  });

  it('keep a draft, and forget an empty one', async () => {
    const { db } = await tab();
    await db.saveDraft('c1', { text: 'half a thou', files: [] });
    expect(await db.draft('c1')).toEqual({ text: 'half a thou', files: [] });
    await db.saveDraft('c1', { text: '', files: [] });
    expect(await db.draft('c1')).toBeUndefined();
  });
});

describe('files', () => {
  it('come back with every branch, under new names', async () => {
    const one = await tab();
    await say(one, 'q', 'a');
    one.store.dispatch({ type: 'edit', id: `q${n}`, text: 'Q', ids: ['e1', 'f1'], at: 9 });
    one.store.dispatch({ type: 'ended', id: 'f1', status: 'stopped' });
    const { chat, turns } = one.store.get();
    const [back] = fromJson(toJson([{ chat, turns }]));
    expect(texts(back.turns)).toEqual(texts(turns));
    expect(back.chat.id).not.toBe(chat.id);
    expect(new Set([...back.turns, ...turns].map((turn) => turn.id)).size).toBe(8);
    expect(back.turns.every((turn) => turn.parent === null || back.turns.some((other) => other.id === turn.parent))).toBe(true);
    expect(back.turns.some((turn) => turn.role === 'assistant' && turn.kept)).toBe(false);
    expect(toMarkdown({ chat: { ...chat, leaf: `a${n}` }, turns })).toBe('# Q\n\n## You\n\nq\n\n## Answer\n\na\n');
  });

  it('that hold nothing of ours are refused in words', () => {
    for (const text of ['', '{', '[]', '{"format":"other","chats":[]}', '{"format":"turnstone-chats","chats":[7]}'])
      expect(() => fromJson(text)).toThrow(/^This file /);
  });

  it('what an earlier version kept is taken over', () => {
    const turns = [{ role: 'user', text: 'q' }, { role: 'assistant', text: 'a', status: 'done' }, { role: 'robot', text: '' }, null];
    const old = oldChat({ turns, tools: '[]' }) as Whole;
    expect(texts(old.turns)).toEqual(['q', 'a']);
    expect(old.chat).toMatchObject({ words: 'q', tools: '[]', leaf: old.turns[1].id });
    for (const odd of [null, 1, {}, { turns: 3 }, { turns: [] }]) expect(oldChat(odd)).toBeUndefined();
  });

  it('bound what they bring', () => {
    for (const odd of [null, 3, {}, { id: 'x' }, { id: '<', role: 'user', text: 'a' }, { id: 'x', role: 'robot', text: 'a' }])
      expect(readTurn(odd)).toBeUndefined();
    const answer = {
      id: 'x',
      role: 'assistant',
      text: 'a',
      calls: [3],
      stats: { first: 'x', usage: { prompt: -1 } },
      kept: { id: '../x', seq: 1 },
      status: 'failed',
    };
    expect(readTurn(answer)).toMatchObject({
      ...{ calls: [], kept: undefined, status: 'cut' },
      stats: { first: undefined, usage: { prompt: 0, completion: 0, cached: 0 } },
    });
  });
});

describe('an answer that repeats itself', () => {
  const line = 'She loved to play with her toys and play with her toys. ';
  it('is noticed', () => {
    expect(loopOf(`Once. ${line.repeat(5)}`)).toBe(line);
    expect(loopOf('ha '.repeat(50))).toBeDefined();
    expect(loopOf(`x${'a'.repeat(200)}`)).toBe('a');
  });
  it('is not seen where text only resembles itself', () => {
    expect(loopOf(line.repeat(2))).toBeUndefined();
    expect(loopOf(`| --- | --- |\n${'-'.repeat(300)}`)).toBeUndefined();
    expect(loopOf(Array.from({ length: 60 }, (_, i) => `Item ${i} is here.`).join('\n'))).toBeUndefined();
    expect(loopOf('')).toBeUndefined();
  });
});
