import type { Transport } from './api.ts';
import { asProblem } from './problem.ts';
import type { StateStore } from './store.ts';

const FIRST_WAIT = 1000; // ms
const LONGEST_WAIT = 15_000;

/** Asks for the models until the server answers; a missing key ends it until the next call. Returns how to stop. */
export function watchServer(store: StateStore, transport: Transport): () => void {
  const abort = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wait = FIRST_WAIT;

  async function look(): Promise<void> {
    try {
      const models = await transport.models(abort.signal);
      store.dispatch({ type: 'server', server: 'ready', models });
    } catch (error) {
      if (abort.signal.aborted) return;
      const { info } = asProblem(error);
      store.dispatch({ type: 'server', server: info });
      if (info.next === 'key') return;
      timer = setTimeout(look, wait);
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
  }

  void look();
  return () => {
    abort.abort();
    clearTimeout(timer);
  };
}
