import type { State } from '../state.ts';
import { Icon } from './Icon.tsx';
import { Mark } from './Mark.tsx';

interface Props {
  model: string | undefined;
  server: State['server'];
  onNew(): void;
  onSettings(): void;
}

export function Header({ model, server, onNew, onSettings }: Props) {
  const state = server === 'ready' ? 'ready' : server === 'connecting' ? 'connecting' : 'away';
  const words = {
    ready: model ?? 'no model',
    connecting: 'connecting…',
    away: typeof server === 'object' && server.next === 'key' ? 'key needed' : 'server away',
  };
  return (
    <header class="top">
      <h1>
        <Mark />
        <span>Turnstone</span>
      </h1>
      <p class="server" data-state={state}>
        <span class="dot" aria-hidden="true" />
        <span class="server-name">{words[state]}</span>
      </p>
      <nav aria-label="Page">
        <button type="button" class="quiet" title="New chat" onClick={onNew}>
          <Icon name="plus" />
          <span class="wide-only">New chat</span>
        </button>
        <button type="button" class="quiet" title="Settings" aria-haspopup="dialog" onClick={onSettings}>
          <Icon name="sliders" />
          <span class="wide-only">Settings</span>
        </button>
      </nav>
    </header>
  );
}
