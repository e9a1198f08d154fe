import { lasting } from './kept.ts';
import { loopOf } from './loops.ts';
import { asProblem, Problem } from './problem.ts';
import { type Asked, keptRequestOf, requestOf } from './request.ts';
import { type Action, running, type State, type Timed } from './state.ts';
import type { StateStore } from './store.ts';
import type { Delta, Transport } from './transport.ts';
import { type AnswerTurn, isRunning, newId, type TextFile, type Turn } from './turns.ts';

/** What the page can do with the open chat. */
export interface Chatting {
  ask(text: string, more?: { files?: TextFile[]; tools?: string }): void;
  edit(id: string, text: string): void;
  rewrite(id: string, text: string): void;
  again(id: string): void;
  /** Goes on with an answer that was cut off. */
  goOn(id: string): void;
  results(results: { callId: string; name: string; text: string }[]): void;
  pick(id: string): void;
  stop(): void;
  /** Goes on listening to an answer of this chat that nobody listens to. */
  take(): void;
  /** Stops listening; what the server keeps goes on there. */
  leave(): void;
  /** Another tab says that this answer is to be stopped. */
  stopped(id: string): void;
}

export interface ChattingOptions {
  store: StateStore;
  transport: Transport;
  /** The turn as it is kept, by any tab. */
  stored(id: string): Promise<Turn | undefined>;
  /** Stops an answer that another tab writes. */
  stopElsewhere(id: string): void;
}

/** The model requests go to: the chosen one while the server has it, else the first. */
export function modelOf({ settings, models }: Pick<State, 'settings' | 'models'>): string | undefined {
  const chosen = settings.model;
  if (chosen && (models.length === 0 || models.some((model) => model.id === chosen))) return chosen;
  return models[0]?.id;
}

export const contextOf = (state: Pick<State, 'settings' | 'models'>): number | undefined =>
  state.models.find(({ id }) => id === modelOf(state))?.context;

/** Codes and parameters by which a server says that it does not keep this answer. */
const UNKEPT = (p: Problem) => ['store', 'background'].includes(p.info.param ?? '') || p.info.code === 'string_above_max_length';
const LOST = new Set(['previous_response_not_found', 'not_found']);

/** Runs answers one at a time: starting one stops the one before. Deltas reach the state once a frame. */
export function createChatting({ store, transport, stored, stopElsewhere }: ChattingOptions): Chatting {
  let current: { id: string; abort: AbortController; left?: true; ended?: 'stopped' | 'repeating' } | undefined;
  /** This server keeps no answers: it has said so. */
  let unkept = false;

  /** The branch before an answer. */
  const askedBefore = (id: string): Asked => {
    const { chat, path } = store.get();
    const at = path.findIndex((turn) => turn.id === id);
    return { chat, turns: path.slice(0, at < 0 ? undefined : at) };
  };
  const answerOf = (id: string): AnswerTurn | undefined => {
    const turn = store.get().turns.find((other) => other.id === id);
    return turn?.role === 'assistant' ? turn : undefined;
  };

  async function* begin(id: string, signal: AbortSignal): AsyncGenerator<Delta> {
    const state = store.get();
    // Asked before the list of models came: the API wants a name.
    const model = modelOf(state) ?? (await transport.models(signal))[0]?.id;
    const asked = askedBefore(id);
    const settings = await fitting(asked, model, signal);
    const { kept } = transport;
    const away = (is: boolean) => store.dispatch({ type: 'away', id, away: is });
    for (const whole of kept && state.settings.keep && !unkept ? [false, true] : []) {
      try {
        for await (const delta of lasting(kept!, keptRequestOf(asked, settings, model, whole), signal, away))
          yield delta.type === 'kept' ? { ...delta, kept: { ...delta.kept, from: asked.chat.from } } : delta;
        return;
      } catch (error) {
        if (answerOf(id)?.kept || !(error instanceof Problem)) throw error;
        if (UNKEPT(error)) {
          unkept = error.info.code !== 'string_above_max_length';
          break;
        }
        if (whole || (error.info.param !== 'previous_response_id' && !LOST.has(error.info.code ?? ''))) throw error;
      }
    }
    yield* transport.chat(requestOf(asked, settings, model), signal);
  }

  /** The settings with `max tokens` cut to what the context has left: the server refuses more. Too little to be of use is left to it. */
  async function fitting(asked: Asked, model: string | undefined, signal: AbortSignal) {
    const { settings, models, used = 0 } = store.get();
    const context = contextOf({ settings, models });
    const { maxTokens } = settings;
    if (maxTokens === null || context === undefined || used + maxTokens < context / 2) return settings;
    const now = await transport.count(requestOf(asked, settings, model), signal).catch(() => 0);
    const left = context - now;
    return now && left >= 32 && left < maxTokens ? { ...settings, maxTokens: left } : settings;
  }

  async function* resume(answer: AnswerTurn, signal: AbortSignal): AsyncGenerator<Delta> {
    if (answer.finish) return; // all of it was heard; only that it has ended was not written down
    const away = (is: boolean) => store.dispatch({ type: 'away', id: answer.id, away: is });
    yield* lasting(transport.kept!, answer.kept!, signal, away);
  }

  function goingOn(answer: AnswerTurn, signal: AbortSignal): AsyncIterable<Delta> {
    const state = store.get();
    return transport.goOn(requestOf(askedBefore(answer.id), state.settings, modelOf(state)), answer.text, signal);
  }

  /**
   * Lets what `source` tells into the answer, to its end. One tab at a time does so. The first `known` characters are no loop: the
   * reader has let them go on.
   */
  function run(id: string, source: (signal: AbortSignal) => AsyncIterable<Delta>, known = 0): void {
    const me: NonNullable<typeof current> = { id, abort: new AbortController() };
    current = me;
    void locked(id, me.abort.signal, () => listen(me, source, known)).catch(() => {});
  }

  async function listen(me: NonNullable<typeof current>, source: (signal: AbortSignal) => AsyncIterable<Delta>, known = 0): Promise<void> {
    const { id, abort } = me;
    const { signal } = abort;
    const started = performance.now();
    let waiting: Timed[] = [];
    let scheduled = false;
    const flush = () => {
      scheduled = false;
      if (!waiting.length || me.left) return;
      const deltas = waiting;
      waiting = [];
      store.dispatch({ type: 'deltas', id, deltas });
      if (store.get().settings.stopLoops && loopOf(answerOf(id)?.text.slice(known) ?? '')) end(me, 'repeating');
    };
    const ended = (action: Omit<Action & { type: 'ended' }, 'type' | 'id'>) => {
      flush();
      if (!me.left) store.dispatch({ type: 'ended', id, ...action });
    };
    try {
      for await (const delta of source(signal)) {
        if (signal.aborted) break;
        waiting.push({ delta, at: performance.now() - started });
        if (!scheduled) {
          scheduled = true;
          nextFrame(flush);
        }
      }
      flush();
      const cancelled = answerOf(id)?.finish === 'cancelled';
      ended({ status: me.ended ?? (signal.aborted || cancelled ? 'stopped' : 'done') });
    } catch (error) {
      const left = signal.aborted;
      abort.abort();
      if (left) ended({ status: me.ended ?? 'stopped' });
      else ended({ status: 'failed', problem: asProblem(error).info });
    } finally {
      if (current === me) current = undefined;
    }
  }

  /** At once, not when the network notices. The server is told too. */
  function end(me: NonNullable<typeof current>, status: 'stopped' | 'repeating'): void {
    me.ended = status;
    me.abort.abort();
    const { kept } = answerOf(me.id) ?? {};
    store.dispatch({ type: 'ended', id: me.id, status });
    if (kept) transport.kept?.cancel(kept.id).catch(() => {});
    if (current === me) current = undefined;
  }

  function stop(): void {
    const last = running(store.get());
    if (current) end(current, 'stopped');
    if (!last || !isRunning(answerOf(last.id) ?? last)) return;
    stopElsewhere(last.id);
    if (last.kept) transport.kept?.cancel(last.kept.id).catch(() => {});
  }

  function start(action: Action): void {
    stop();
    store.dispatch(action);
    const last = running(store.get());
    if (last) run(last.id, (signal) => begin(last.id, signal));
  }

  const ids = (): [string, string] => [newId(), newId()];
  const at = () => Date.now();
  return {
    ask: (text, more) => start({ type: 'ask', text, ...more, ids: ids(), at: at() }),
    edit: (id, text) => start({ type: 'edit', id, text, ids: ids(), at: at() }),
    again: (id) => start({ type: 'again', id, as: newId(), at: at() }),
    results: (results) =>
      start({ type: 'results', results: results.map((result) => ({ id: newId(), ...result })), answer: newId(), at: at() }),
    rewrite(id, text) {
      stop();
      store.dispatch({ type: 'rewrite', id, text, as: newId(), at: at() });
    },
    goOn(id) {
      stop();
      const answer = answerOf(id);
      if (!answer) return;
      if (answer.status === 'failed' && answer.kept && transport.kept) {
        store.dispatch({ type: 'resume', id }); // the connection was lost, not the answer
        run(id, (signal) => resume(answer, signal));
      } else {
        store.dispatch({ type: 'continue', id });
        run(id, (signal) => goingOn(answer, signal), answer.text.length);
      }
    },
    pick(id) {
      leave();
      store.dispatch({ type: 'pick', id });
      this.take();
    },
    stop,
    take() {
      const answer = running(store.get());
      if (!answer || current?.id === answer.id) return;
      const me: NonNullable<typeof current> = { id: answer.id, abort: new AbortController() };
      current = me;
      void locked(answer.id, me.abort.signal, async () => {
        const known = await stored(answer.id);
        if (me.abort.signal.aborted || known?.role !== 'assistant' || !isRunning(known)) return;
        if (!known.kept || !transport.kept) return store.dispatch({ type: 'ended', id: answer.id, status: 'cut' });
        store.dispatch({ type: 'take', answer: known });
        await listen(me, (signal) => resume(known, signal));
      }).catch(() => {});
    },
    leave,
    stopped: (id) => current?.id === id && end(current, 'stopped'),
  };

  function leave(): void {
    const me = current;
    current = undefined;
    if (!me) return;
    const answer = answerOf(me.id);
    if (answer && !answer.kept) {
      end(me, 'stopped');
      return;
    }
    me.left = true;
    me.abort.abort();
  }
}

/** Alone among the tabs. Without Web Locks (plain http) each tab is alone. */
async function locked(id: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  if (!navigator.locks) return work();
  await navigator.locks.request(`turnstone:${id}`, { signal }, work);
}

/** A hidden page has no frames. */
function nextFrame(work: () => void): void {
  if (document.visibilityState === 'visible') requestAnimationFrame(work);
  else setTimeout(work, 200);
}
