import { render } from 'preact';
import { httpTransport } from './api.ts';
import { fetchCard } from './card.ts';
import { createChatting, modelOf } from './chat.ts';
import { App } from './components/App.tsx';
import { createContext } from './context.ts';
import { openDatabase } from './db.ts';
import { createDevice } from './device/device.ts';
import { seenByServer } from './device/seen.ts';
import { createPage } from './page.ts';
import { requestOf } from './request.ts';
import { watchServer } from './server.ts';
import { EMPTY, newChat, running } from './state.ts';
import { createStorage } from './storage.ts';
import { createStore } from './store.ts';
import { createSync } from './sync.ts';
import type { Transport } from './transport.ts';
import { newId } from './turns.ts';
import './style/base.css';
import './style/chat.css';
import './style/list.css';
import './style/prose.css';
import './style/empty.css';
import './style/controls.css';
import './style/settings.css';
import './style/media.css';

const storage = createStorage(localStorage, sessionStorage);
const settings = storage.settings();
const store = createStore({ ...EMPTY, settings, chat: newChat(newId(), settings.system, Date.now()) });

function showTheme(): void {
  const { theme } = store.get().settings;
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
showTheme();

let saved = settings;
store.subscribe((state) => {
  if (state.settings === saved) return;
  saved = state.settings;
  showTheme();
  storage.saveSettings(saved);
});
// settings are one for all tabs; another one has changed them
addEventListener('storage', (event) => {
  if (!storage.isSettings(event.key)) return;
  saved = storage.settings();
  store.dispatch({ type: 'settings', settings: { ...saved, device: store.get().settings.device } });
  saved = store.get().settings;
  showTheme();
});

const server = httpTransport('', storage.key);
const device = createDevice(server, storage.key, () => {
  const { chat, path, ...state } = store.get();
  const turns = seenByServer(path);
  return turns.length ? requestOf({ chat, turns }, state.settings, modelOf(state)) : undefined;
});
const chosen = (): Transport => (store.get().settings.device ? device.transport : server);
const transport: Transport = {
  models: (signal) => chosen().models(signal),
  chat: (request, signal) => chosen().chat(request, signal),
  goOn: (request, text, signal) => chosen().goOn(request, text, signal),
  count: (request, signal) => chosen().count(request, signal),
  get kept() {
    return chosen().kept;
  },
};

async function main(): Promise<void> {
  const db = await openDatabase().catch((error: unknown) => {
    console.warn('This browser keeps nothing:', error);
    return undefined;
  });
  const sync = createSync({
    ...{ store, db },
    channel: 'BroadcastChannel' in globalThis ? new BroadcastChannel('turnstone') : undefined,
    // what the server keeps of a chat goes with it
    onErased(turns) {
      for (const turn of turns) if (turn.role === 'assistant' && turn.kept) server.kept.forget(turn.kept.id).catch(() => {});
    },
    onStop: (turn) => chatting.stopped(turn),
    onMerged: () => chatting.take(),
  });
  const chatting = createChatting({ store, transport, stored: async (id) => db?.turn(id), stopElsewhere: sync.stop });
  const context = createContext(store, transport);
  const page = createPage({ store, storage, db, sync, chatting, context });
  addEventListener('pagehide', () => void sync.flush());

  const alive = () =>
    fetch('/health').then(
      (r) => r.ok && !store.get().settings.device,
      () => false,
    );
  let stopWatching = watchServer(store, transport, alive);
  const watchAgain = () => {
    stopWatching();
    store.dispatch({ type: 'server', server: 'connecting' });
    stopWatching = watchServer(store, transport, alive);
  };
  // an answer that found nobody: from here on the server is looked for, so that its return is seen
  let lost: unknown;
  store.subscribe(({ path, server: is }) => {
    const last = path.at(-1);
    const problem = last?.role === 'assistant' ? last.problem : undefined;
    if (!problem?.transient || problem === lost || is !== 'ready') return;
    lost = problem;
    watchAgain();
  });
  const onKey = (key: string) => {
    storage.saveKey(key);
    watchAgain();
  };
  const onDevice = (on: boolean) => {
    chatting.stop();
    store.dispatch({ type: 'settings', settings: { device: on } });
    if (!on) device.stop();
    watchAgain();
  };
  const onLook = () => {
    transport.models().then(
      (models) => store.get().server === 'ready' && store.dispatch({ type: 'server', server: 'ready', models }),
      () => {}, // who answers next says so
    );
  };
  // an answer may have loaded its model, and unloaded another
  let answering = false;
  store.subscribe((state) => {
    const now = running(state) !== undefined;
    if (answering && !now && state.models.length > 1) onLook();
    answering = now;
  });
  const card = (id: string) => fetchCard(id, storage.key());
  render(
    <App {...{ store, page, device, onDevice, onKey, card, onLook }} apiKey={storage.key} />,
    document.querySelector('#app') as HTMLElement,
  );
}
void main();
