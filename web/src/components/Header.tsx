import { nameOf, type State } from '../state.ts';
import { Icon } from './Icon.tsx';
import { Mark } from './Mark.tsx';
import { ModelOptions } from './ModelField.tsx';
import { useSeconds } from './useSeconds.ts';

interface Props {
  state: Pick<State, 'server' | 'chat' | 'models'>;
  model: string | undefined;
  /** Answers come from this device. */
  device: boolean;
  list: boolean;
  onModel(model: string): void;
  /** The models are about to be looked at. */
  onLook(): void;
  onList(): void;
  onNew(): void;
  onSettings(): void;
}

export function Header({ state: { server, chat, models }, model, device, list, onModel, onLook, onList, onNew, onSettings }: Props) {
  const state = typeof server === 'object' ? 'away' : server === 'loading' ? 'connecting' : server;
  const seconds = useSeconds(server === 'loading');
  const words = {
    ready: model ?? 'no model',
    connecting: server === 'loading' ? `loading the model… ${seconds} s` : device ? 'loading here…' : 'connecting…',
    away: typeof server === 'object' ? (AWAY[server.next] ?? 'server away') : '',
  };
  return (
    <header class="top">
      <button type="button" class="quiet" title="Chats (Ctrl+B)" aria-label="Chats" aria-expanded={list} onClick={onList}>
        <Icon name="list" />
      </button>
      <h1>
        <Mark />
        <span class="wide-only">Turnstone</span>
      </h1>
      <p class="server" data-state={state} title={typeof server === 'object' ? server.title : undefined}>
        <span class="dot" aria-hidden="true" />
        {state === 'ready' && models.length > 1 ? (
          <select aria-label="Model" value={model} onFocus={onLook} onChange={(event) => onModel(event.currentTarget.value)}>
            <ModelOptions models={models} />
          </select>
        ) : (
          <span class="server-name">{words[state]}</span>
        )}
      </p>
      {chat.leaf !== null && <p class="chat-name">{nameOf(chat)}</p>}
      <nav aria-label="Page">
        <button type="button" class="quiet" title="New chat (Ctrl+Shift+O)" aria-label="New chat" onClick={onNew}>
          <Icon name="plus" />
          <span class="wide-only">New chat</span>
        </button>
        <button type="button" class="quiet" title="Settings (Ctrl+,)" aria-label="Settings" aria-haspopup="dialog" onClick={onSettings}>
          <Icon name="sliders" />
          <span class="wide-only">Settings</span>
        </button>
      </nav>
    </header>
  );
}

const AWAY: Partial<Record<string, string>> = { key: 'key needed', retry: 'server away' };
