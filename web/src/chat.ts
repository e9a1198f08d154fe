import type { Transport } from './api.ts';
import { asProblem } from './problem.ts';
import { requestOf } from './request.ts';
import { type AnswerTurn, isRunning, type State, type Timed } from './state.ts';
import type { StateStore } from './store.ts';

/** What the page can do with the conversation. */
export interface Chat {
  ask(text: string, tools?: string): void;
  edit(id: number, text: string): void;
  again(id: number): void;
  results(results: { callId: string; name: string; text: string }[]): void;
  stop(): void;
  clear(): void;
  undo(): void;
}

/** The model requests go to: the chosen one while the server has it, else the first. */
export function modelOf({ settings, models }: State): string | undefined {
  const chosen = settings.model;
  if (chosen && (models.length === 0 || models.some((model) => model.id === chosen))) return chosen;
  return models[0]?.id;
}

/** Runs answers one at a time: starting one stops the one before. Deltas reach the state once a frame. */
export function createChat(store: StateStore, transport: Transport): Chat {
  let current: AbortController | undefined;

  async function run(answer: AnswerTurn): Promise<void> {
    const abort = new AbortController();
    current = abort;
    const id = answer.id;
    const started = performance.now();
    let waiting: Timed[] = [];
    let scheduled = false;
    const flush = () => {
      scheduled = false;
      if (!waiting.length) return;
      const deltas = waiting;
      waiting = [];
      store.dispatch({ type: 'deltas', id, deltas });
    };
    try {
      const state = store.get();
      // Asked before the list of models came: the API wants a name.
      const model = modelOf(state) ?? (await transport.models(abort.signal))[0]?.id;
      const request = requestOf({ turns: state.turns.slice(0, -1), tools: state.tools }, state.settings, model);
      for await (const delta of transport.chat(request, abort.signal)) {
        if (abort.signal.aborted) break;
        waiting.push({ delta, at: performance.now() - started });
        if (!scheduled) {
          scheduled = true;
          nextFrame(flush);
        }
      }
      flush();
      store.dispatch({ type: 'ended', id, status: abort.signal.aborted ? 'stopped' : 'done' });
    } catch (error) {
      flush();
      if (abort.signal.aborted) store.dispatch({ type: 'ended', id, status: 'stopped' });
      else store.dispatch({ type: 'ended', id, status: 'failed', problem: asProblem(error).info });
    }
  }

  function stop(): void {
    current?.abort();
    current = undefined;
    // At once, not when the network notices.
    const last = store.get().turns.at(-1);
    if (last?.role === 'assistant' && isRunning(last)) store.dispatch({ type: 'ended', id: last.id, status: 'stopped' });
  }

  function start(action: Parameters<StateStore['dispatch']>[0]): void {
    stop();
    store.dispatch(action);
    const last = store.get().turns.at(-1);
    if (last?.role === 'assistant' && last.status === 'waiting') void run(last);
  }

  return {
    ask: (text, tools) => start({ type: 'ask', text, tools }),
    edit: (id, text) => start({ type: 'edit', id, text }),
    again: (id) => start({ type: 'again', id }),
    results: (results) => start({ type: 'results', results }),
    stop,
    clear: () => {
      stop();
      store.dispatch({ type: 'clear' });
    },
    undo: () => {
      stop();
      store.dispatch({ type: 'undo' });
    },
  };
}

/** A hidden page has no frames. */
function nextFrame(work: () => void): void {
  if (document.visibilityState === 'visible') requestAnimationFrame(work);
  else setTimeout(work, 200);
}
