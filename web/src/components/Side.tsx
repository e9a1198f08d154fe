import type { RefObject } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Page } from '../page.ts';
import type { State } from '../state.ts';
import { ChatList } from './ChatList.tsx';
import { Icon } from './Icon.tsx';

interface Props {
  open: boolean;
  wide: boolean;
  state: State;
  page: Page;
  search: RefObject<HTMLInputElement>;
  onDone(): void;
  onClose(): void;
}

/** The list of chats: beside the chat where there is room, else over it. */
export function Side({ open, wide, onClose, ...list }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (wide) return;
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open, wide]);
  if (wide)
    return open ? (
      <aside class="side" aria-label="Chats">
        <ChatList {...list} />
      </aside>
    ) : null;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a dialog by itself
    <dialog
      ref={dialog}
      class="drawer"
      aria-labelledby="chats-title"
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <header>
        <h2 id="chats-title">Chats</h2>
        <button type="button" class="quiet" aria-label="Close the list" title="Close (Esc)" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <ChatList {...list} />
    </dialog>
  );
}
