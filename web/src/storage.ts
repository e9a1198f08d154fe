import { isRecord } from './json.ts';
import { readSettings, type Settings } from './settings.ts';

const OLD_CHAT = 'turnstone.chat.1';
const SETTINGS = 'turnstone.settings.1';
const KEY = 'turnstone.key';
const NEW_CHAT = 'turnstone.new';
const DRAFT = 'turnstone.draft';

/** The part of the Web's Storage that is used. */
export type Store = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

/** Settings live in `local` and survive; the key lives in `session`, this tab only. Conversations are in the database. */
export function createStorage(local: Store, session: Store) {
  return {
    settings: (): Settings => readSettings(parse(local.getItem(SETTINGS))),
    /** False where the browser has no room. */
    saveSettings: (settings: Settings): boolean => write(local, SETTINGS, JSON.stringify(settings)),
    isSettings: (name: string | null): boolean => name === SETTINGS,
    key: (): string => session.getItem(KEY) ?? '',
    saveKey: (key: string): boolean => write(session, KEY, key),
    /** The name of this tab's chat that is not begun yet, under which its draft is kept. */
    newChat: (): string | null => session.getItem(NEW_CHAT),
    saveNewChat: (id: string): boolean => write(session, NEW_CHAT, id),
    /** A draft at the moment the page goes, when the database would come too late; taken once. */
    keepDraft: (chat: string, draft: object): boolean => write(session, DRAFT, JSON.stringify({ chat, draft })),
    takeDraft(chat: string): unknown {
      const kept = parse(session.getItem(DRAFT));
      if (!isRecord(kept) || kept.chat !== chat) return undefined;
      session.removeItem(DRAFT);
      return kept.draft;
    },
    /** What an earlier version of the page left. */
    oldChat: (): unknown => parse(local.getItem(OLD_CHAT)),
    forgetOldChat: (): void => local.removeItem(OLD_CHAT),
  };
}

export type PageStorage = ReturnType<typeof createStorage>;

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
