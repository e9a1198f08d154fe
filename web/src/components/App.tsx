import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { type Chat, modelOf } from '../chat.ts';
import type { Device } from '../device/device.ts';
import { running } from '../state.ts';
import { type StateStore, useStore } from '../store.ts';
import { Composer } from './Composer.tsx';
import { Empty } from './Empty.tsx';
import { Header } from './Header.tsx';
import { Icon } from './Icon.tsx';
import { ProblemNote } from './ProblemNote.tsx';
import { Settings } from './Settings.tsx';
import { Status } from './Status.tsx';
import { Thread } from './Thread.tsx';
import { useFollow } from './useFollow.ts';

interface Props {
  store: StateStore;
  chat: Chat;
  apiKey(): string;
  onKey(key: string): void;
  device: Device;
  onDevice(on: boolean): void;
}

const UNDO = { chat: 'Bring back the last chat', edit: 'Undo the edit', answer: 'Bring back the earlier answer' };

export function App({ store, chat, apiKey, onKey, device, onDevice }: Props) {
  const state = useStore(store);
  const [settings, setSettings] = useState(false);
  const [editing, setEditing] = useState<number | null>(null);
  const box = useRef<HTMLTextAreaElement>(null);
  const { away, toEnd } = useFollow(state.turns.length ? state.turns : null);

  const { turns, server, undo } = state;
  const busy = running(state) !== undefined;
  const model = modelOf(state);
  const last = turns.at(-1);

  // Ready to type, except where that would call up a keyboard over half the page.
  const toBox = useCallback(() => {
    if (matchMedia('(hover: hover)').matches) box.current?.focus({ preventScroll: true });
  }, []);
  useEffect(toBox, []);

  const openSettings = useCallback(() => setSettings(true), []);
  const onNew = useCallback(() => {
    setEditing(null);
    chat.clear();
    toBox();
  }, [chat]);
  const onAsk = (text: string, tools?: string) => {
    setEditing(null);
    chat.ask(text, tools);
    toEnd();
    toBox();
  };
  const onSave = useCallback(
    (id: number, text: string) => {
      setEditing(null);
      chat.edit(id, text);
      toEnd();
      toBox();
    },
    [chat, toEnd],
  );

  useEffect(() => {
    const onEscape = (event: KeyboardEvent) => {
      if (event.key === 'Escape' && !event.isComposing && !document.querySelector('dialog[open]')) chat.stop();
    };
    document.addEventListener('keydown', onEscape);
    return () => document.removeEventListener('keydown', onEscape);
  }, [chat]);

  const problemActions = { onKey, onSettings: openSettings, onNew };
  return (
    <>
      <Header model={model} server={server} onNew={onNew} onSettings={openSettings} />
      <main>
        {turns.length > 0 ? (
          <Thread turns={turns} chat={chat} editing={editing} onEdit={setEditing} onSave={onSave} {...problemActions} />
        ) : (
          <Empty model={model} onDevice={state.settings.device} onPick={onAsk} />
        )}
      </main>
      <div class="dock">
        {typeof server === 'object' && turns.length === 0 && <ProblemNote problem={server} {...problemActions} />}
        <div class="above">
          {undo && !busy && (
            <button type="button" class="plain" onClick={chat.undo}>
              {UNDO[undo.what]}
            </button>
          )}
          {away && (
            <button type="button" class="plain end" onClick={toEnd}>
              <Icon name="down" /> Latest
            </button>
          )}
        </div>
        <Composer
          box={box}
          busy={busy}
          onSend={onAsk}
          onStop={chat.stop}
          onUp={() => setEditing(turns.findLast((turn) => turn.role === 'user')?.id ?? null)}
        />
      </div>
      <Status answer={last?.role === 'assistant' ? last : undefined} />
      <Settings
        open={settings}
        state={state}
        apiKey={apiKey()}
        onChange={(change) => store.dispatch({ type: 'settings', settings: change })}
        onTools={(tools) => store.dispatch({ type: 'tools', tools })}
        onKey={onKey}
        device={device}
        onDevice={onDevice}
        onClose={() => setSettings(false)}
      />
    </>
  );
}
