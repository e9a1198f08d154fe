import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { contextOf, modelOf } from '../chat.ts';
import { roomOf } from '../context.ts';
import type { Device } from '../device/device.ts';
import type { Page } from '../page.ts';
import { sentTurns } from '../request.ts';
import { commandOf } from '../shortcuts.ts';
import { nameOf, running } from '../state.ts';
import { type StateStore, useStore } from '../store.ts';
import type { ModelCard } from '../transport.ts';
import type { TextFile, Turn } from '../turns.ts';
import { Composer } from './Composer.tsx';
import { Empty } from './Empty.tsx';
import { FullChoices } from './FullChoices.tsx';
import { Gauge } from './Gauge.tsx';
import { Header } from './Header.tsx';
import { Help } from './Help.tsx';
import { Icon } from './Icon.tsx';
import { ProblemNote } from './ProblemNote.tsx';
import { Settings } from './Settings.tsx';
import { Side } from './Side.tsx';
import { Status } from './Status.tsx';
import { Thread } from './Thread.tsx';
import { useFollow } from './useFollow.ts';
import { useWide } from './useWide.ts';

export interface AppProps {
  store: StateStore;
  page: Page;
  apiKey(): string;
  onKey(key: string): void;
  device: Device;
  onDevice(on: boolean): void;
  card(model: string): Promise<ModelCard | undefined>;
  /** Asks the server anew which models it has. */
  onLook(): void;
}

export function App({ store, page, apiKey, onKey, device, onDevice, card, onLook }: AppProps) {
  const state = useStore(store);
  const wide = useWide();
  const [list, setList] = useState(wide);
  const [settings, setSettings] = useState(false);
  const [help, setHelp] = useState(false);
  const [editing, setEditing] = useState<string | null>(null);
  const box = useRef<HTMLTextAreaElement>(null);
  const search = useRef<HTMLInputElement>(null);
  const { chatting } = page;

  const { chat, path, server } = state;
  const { away, toEnd } = useFollow(path.length ? path : null);
  const busy = running(state) !== undefined;
  const model = modelOf(state);
  const context = contextOf(state);
  const last = path.at(-1);
  const known = useCard(model, server === 'ready' && model === state.models[0]?.id, card); // packs of the others are not given out

  // Ready to type, except where that would call up a keyboard over half the page.
  const toBox = useCallback(() => {
    if (matchMedia('(hover: hover)').matches) box.current?.focus({ preventScroll: true });
  }, []);
  useEffect(toBox, [chat.id]);
  useEffect(() => {
    document.title = path.length ? `${nameOf(chat)} · Turnstone` : 'Turnstone';
  }, [chat.name, chat.words, path.length > 0]);

  const openSettings = useCallback(() => setSettings(true), []);
  const onNew = useCallback(() => {
    setEditing(null);
    page.newChat();
    toBox();
  }, [page]);
  const onAsk = useCallback(
    (text: string, files?: TextFile[], tools?: string) => {
      setEditing(null);
      chatting.ask(text, { files, tools });
      toEnd();
      toBox();
    },
    [chatting, toEnd],
  );
  const onSave = useCallback(
    (turn: Turn, text: string) => {
      setEditing(null);
      if (turn.role === 'assistant') return chatting.rewrite(turn.id, text);
      chatting.edit(turn.id, text);
      toEnd();
      toBox();
    },
    [chatting, toEnd],
  );
  const closeList = useCallback(() => {
    if (!wide) setList(false);
    setEditing(null);
  }, [wide]);
  useEffect(() => setList(wide), [wide]);

  useEffect(() => {
    const neighbour = (by: number) => {
      const { list: chats, chat: open } = store.get();
      const at = chats.findIndex(({ id }) => id === open.id);
      const next = chats[at < 0 ? 0 : at + by];
      if (next) void page.open(next.id);
    };
    const onCommand = (event: KeyboardEvent) => {
      const command = commandOf(event);
      const dialog = document.querySelector('dialog[open]');
      if (!command || (dialog && command !== 'help' && command !== 'settings')) return;
      if (command === 'stop') return chatting.stop();
      event.preventDefault();
      if (command === 'new') onNew();
      else if (command === 'settings') setSettings((open) => !open);
      else if (command === 'help') setHelp((open) => !open);
      else if (command === 'list') setList((open) => !open);
      else if (command === 'newer') neighbour(-1);
      else if (command === 'older') neighbour(1);
      else {
        setList(true);
        setTimeout(() => search.current?.focus());
      }
    };
    const onHelp = () => setHelp(true);
    document.addEventListener('keydown', onCommand);
    addEventListener('turnstone:help', onHelp);
    return () => {
      document.removeEventListener('keydown', onCommand);
      removeEventListener('turnstone:help', onHelp);
    };
  }, [page, onNew]);

  const full = useMemo(
    () => ({
      more: () => {
        const now = store.get();
        return sentTurns({ chat: now.chat, turns: now.path }).filter((turn) => turn.role === 'user').length > 1;
      },
      leaveOut: page.context.leaveOut,
      summarize: () => page.context.summarize(new AbortController().signal),
      fromHere: page.fromHere,
    }),
    [page],
  );
  const problemActions = useMemo(() => ({ onKey, onSettings: openSettings, full }), [onKey, full]);
  const below = (draft: string) => {
    const room = path.length || draft ? roomOf(state, draft) : undefined;
    return (
      <>
        {room?.full && !busy && path.length > 0 && !(last?.role === 'assistant' && last.problem) && (
          <div class="room">
            <FullChoices {...full} />
          </div>
        )}
        <Gauge room={room} />
      </>
    );
  };

  return (
    <>
      <Side open={list} wide={wide} onClose={() => setList(false)} {...{ state, page, search }} onDone={closeList} />
      <div class="page">
        <Header
          {...{ state, model, list, onNew }}
          device={state.settings.device}
          onModel={(name) => store.dispatch({ type: 'settings', settings: { model: name } })}
          onLook={onLook}
          onList={() => setList((open) => !open)}
          onSettings={openSettings}
        />
        <main>
          {path.length > 0 ? (
            <Thread
              {...{ state, context, chatting, editing, onSave }}
              onEdit={setEditing}
              onSendAll={page.context.sendAll}
              {...problemActions}
            />
          ) : (
            <Empty
              model={model}
              card={known}
              onDevice={state.settings.device}
              onPick={(prompt, tools) => onAsk(prompt, undefined, tools)}
            />
          )}
        </main>
        <section class="dock" aria-label="Your message">
          {typeof server === 'object' && path.length === 0 && <ProblemNote problem={server} {...problemActions} />}
          <div class="above">
            {state.undo && !list && (
              <button type="button" class="plain" onClick={page.undo}>
                Bring back “{nameOf(state.undo)}”
              </button>
            )}
            {away && (
              <button type="button" class="plain end" onClick={toEnd}>
                <Icon name="down" /> Latest
              </button>
            )}
          </div>
          <Composer
            key={chat.id} // another chat: another draft
            box={box}
            chat={chat.id}
            busy={busy}
            below={below}
            loadDraft={page.draft}
            saveDraft={page.saveDraft}
            keepDraft={page.keepDraft}
            onSend={onAsk}
            onStop={chatting.stop}
            onUp={() => setEditing(path.findLast((turn) => turn.role === 'user')?.id ?? null)}
          />
        </section>
      </div>
      <Status answer={last?.role === 'assistant' ? last : undefined} />
      <Settings
        open={settings}
        {...{ state, page, onKey, device, onDevice, onLook }}
        card={known}
        apiKey={apiKey()}
        onChange={(change) => store.dispatch({ type: 'settings', settings: change })}
        onChat={(change) => store.dispatch({ type: 'chat', change })}
        onHelp={() => {
          setSettings(false);
          setHelp(true);
        }}
        onClose={() => setSettings(false)}
      />
      <Help open={help} onClose={() => setHelp(false)} />
    </>
  );
}

/** What the server's pack says of the model, once it is known. */
function useCard(model: string | undefined, ready: boolean, card: AppProps['card']): ModelCard | undefined {
  const [known, setKnown] = useState<ModelCard>();
  useEffect(() => {
    setKnown(undefined);
    if (!model || !ready) return;
    let here = true;
    void card(model).then((found) => here && setKnown(found));
    return () => {
      here = false;
    };
  }, [model, ready]);
  return known;
}
