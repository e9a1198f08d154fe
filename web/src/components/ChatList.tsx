import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Page } from '../page.ts';
import { type Chat, nameOf, type State } from '../state.ts';
import { Icon } from './Icon.tsx';

interface Props {
  state: Pick<State, 'list' | 'chat' | 'undo' | 'lost'>;
  page: Page;
  search: RefObject<HTMLInputElement>;
  /** A chat was chosen. */
  onDone(): void;
}

const SEARCH_AFTER = 150; // ms

/** All chats, newest first: found by their words, renamed, deleted and brought back. */
export function ChatList({ state, page, search, onDone }: Props) {
  const [words, setWords] = useState('');
  const [found, setFound] = useState<Set<string>>();
  const [renaming, setRenaming] = useState<string>();
  const [fault, setFault] = useState('');
  const picker = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (!words.trim()) return setFound(undefined);
    const timer = setTimeout(() => void page.search(words).then(setFound), SEARCH_AFTER);
    return () => clearTimeout(timer);
  }, [words, state.list]);
  const shown = state.list.filter((chat) => !found || found.has(chat.id));
  const groups = byDay(shown);

  return (
    <div class="chats">
      <div class="chats-top">
        <input
          ref={search}
          type="search"
          value={words}
          placeholder="Search chats"
          aria-label="Search chats"
          onInput={(event) => setWords(event.currentTarget.value)}
        />
        <button
          type="button"
          class="quiet"
          aria-label="Begin another chat"
          title="New chat (Ctrl+Shift+O)"
          onClick={() => {
            page.newChat();
            onDone();
          }}
        >
          <Icon name="plus" />
        </button>
      </div>
      {state.undo && (
        <p class="undo" role="status">
          <span>“{nameOf(state.undo)}” was deleted.</span>
          <button type="button" class="plain" onClick={page.undo}>
            Bring it back
          </button>
        </p>
      )}
      {!page.keeps && <p class="note">This browser keeps nothing here: chats last until the tab is closed.</p>}
      {state.lost && (
        <p class="wrong" role="alert">
          The last change could not be kept: this browser has no room left. Export what matters, then delete what does not.
        </p>
      )}
      {groups.map(([day, chats]) => (
        <section key={day} aria-label={day}>
          <h3>{day}</h3>
          <ul>
            {chats.map((chat) => (
              <Entry
                key={chat.id}
                chat={chat}
                open={chat.id === state.chat.id}
                renaming={renaming === chat.id}
                page={page}
                onRename={setRenaming}
                onDone={onDone}
              />
            ))}
          </ul>
        </section>
      ))}
      {words.trim() && !shown.length && <p class="note">No chat holds these words.</p>}
      {!words.trim() && !shown.length && page.keeps && <p class="note">Chats are kept here, in this browser.</p>}
      <footer class="ways">
        <button type="button" class="quiet" onClick={() => picker.current?.click()}>
          Import
        </button>
        <button type="button" class="quiet" aria-disabled={!state.list.length} onClick={() => void page.exportAll()}>
          Export all
        </button>
        <input
          ref={picker}
          type="file"
          accept=".json,application/json"
          hidden
          aria-label="Import chats"
          onChange={async (event) => {
            const [file] = event.currentTarget.files ?? [];
            event.currentTarget.value = '';
            setFault('');
            await file
              ?.text()
              .then(page.importFile)
              .then(onDone)
              .catch((error: unknown) => setFault(error instanceof Error ? error.message : String(error)));
          }}
        />
      </footer>
      {fault && (
        <p class="wrong" role="alert">
          {fault}
        </p>
      )}
    </div>
  );
}

interface EntryProps {
  chat: Chat;
  open: boolean;
  renaming: boolean;
  page: Page;
  onRename(id: string | undefined): void;
  onDone(): void;
}

function Entry({ chat, open, renaming, page, onRename, onDone }: EntryProps) {
  const name = nameOf(chat);
  if (renaming) {
    const end = (value: string) => {
      page.rename(chat, value);
      onRename(undefined);
    };
    return (
      <li class="entry" data-open={open}>
        <input
          type="text"
          aria-label="Name of the chat"
          defaultValue={name}
          maxLength={200}
          ref={(input) => input?.focus()}
          onBlur={(event) => renaming && end(event.currentTarget.value)}
          onKeyDown={(event) => {
            event.stopPropagation();
            if (event.key === 'Enter') event.currentTarget.blur();
            if (event.key === 'Escape') onRename(undefined);
          }}
        />
      </li>
    );
  }
  return (
    <li class="entry" data-open={open}>
      <a
        href={`#${chat.id}`}
        aria-current={open ? 'page' : undefined}
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return; // a tab of its own
          event.preventDefault();
          void page.open(chat.id).then(onDone);
        }}
        onDblClick={() => onRename(chat.id)}
      >
        {name}
      </a>
      <button type="button" class="quiet" aria-label={`Rename ${name}`} title="Rename" onClick={() => onRename(chat.id)}>
        <Icon name="pencil" />
      </button>
      <button type="button" class="quiet" aria-label={`Delete ${name}`} title="Delete" onClick={() => page.remove(chat)}>
        <Icon name="trash" />
      </button>
    </li>
  );
}

const DAY = 86_400_000; // ms

/** Chats under the words for when they were last gone on with. */
function byDay(chats: readonly Chat[]): [string, Chat[]][] {
  const today = new Date().setHours(0, 0, 0, 0);
  const groups = new Map<string, Chat[]>();
  for (const chat of chats) {
    const day =
      chat.changed >= today
        ? 'Today'
        : chat.changed >= today - DAY
          ? 'Yesterday'
          : chat.changed >= today - 7 * DAY
            ? 'Last seven days'
            : new Date(chat.changed).toLocaleDateString('en', { month: 'long', year: 'numeric' });
    groups.set(day, [...(groups.get(day) ?? []), chat]);
  }
  return [...groups];
}
