import { render } from 'preact';
import { httpTransport, type Transport } from './api.ts';
import { createChat, modelOf } from './chat.ts';
import { App } from './components/App.tsx';
import { createDevice } from './device/device.ts';
import { seenByServer } from './device/seen.ts';
import { requestOf } from './request.ts';
import { watchServer } from './server.ts';
import { EMPTY, running } from './state.ts';
import { createStorage } from './storage.ts';
import { createStore } from './store.ts';
import './style/base.css';
import './style/chat.css';
import './style/prose.css';
import './style/empty.css';
import './style/controls.css';
import './style/settings.css';
import './style/media.css';

const SAVE_EVERY = 500; // ms, while an answer grows

const storage = createStorage(localStorage, sessionStorage);
const store = createStore({ ...EMPTY, settings: storage.settings() });
store.dispatch({ type: 'load', chat: storage.chat() });

const server = httpTransport('', storage.key);
const device = createDevice(server, storage.key, () => {
  const state = store.get();
  const turns = seenByServer(state.turns);
  return turns.length ? requestOf({ turns, tools: state.tools }, state.settings, modelOf(state)) : undefined;
});
const chosen = () => (store.get().settings.device ? device.transport : server);
const transport: Transport = { models: (signal) => chosen().models(signal), chat: (request, signal) => chosen().chat(request, signal) };
const chat = createChat(store, transport);
let stopWatching = watchServer(store, transport);

function watchAgain(): void {
  stopWatching();
  store.dispatch({ type: 'server', server: 'connecting' });
  stopWatching = watchServer(store, transport);
}

function onKey(key: string): void {
  storage.saveKey(key);
  watchAgain();
}

function onDevice(on: boolean): void {
  chat.stop();
  store.dispatch({ type: 'settings', settings: { device: on } });
  if (!on) device.stop();
  watchAgain();
}

function showTheme(): void {
  const { theme } = store.get().settings;
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

let saved = store.get();
let timer: ReturnType<typeof setTimeout> | undefined;
function save(): void {
  clearTimeout(timer);
  timer = undefined;
  const state = store.get();
  if (state.turns !== saved.turns || state.tools !== saved.tools) storage.saveChat(state);
  if (state.settings !== saved.settings) storage.saveSettings(state.settings);
  saved = state;
}
store.subscribe((state) => {
  showTheme();
  if (!running(state)) save();
  else timer ??= setTimeout(save, SAVE_EVERY);
});
addEventListener('pagehide', save);

// Another tab went on with the conversation: take it over, unless this one is in the middle of an answer.
addEventListener('storage', (event) => {
  if (!storage.isChat(event.key) || running(store.get())) return;
  store.dispatch({ type: 'load', chat: storage.chat() });
  saved = store.get();
});

showTheme();
render(
  <App store={store} chat={chat} apiKey={storage.key} onKey={onKey} device={device} onDevice={onDevice} />,
  document.querySelector('#app') as HTMLElement,
);
