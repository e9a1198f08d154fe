import { asProblem } from './problem.ts';
import type { StateStore } from './store.ts';
import type { Transport } from './transport.ts';

const FIRST_WAIT = 1000; // ms
const LONGEST_WAIT = 15_000;
const LOADING_AFTER = 1000;

/**
 * Asks for the models until the server answers; a missing key ends it until the next call. `alive` says whether the server answers at
 * all: when it does and does not yet list its models, it is loading one. Returns how to stop.
 */
export function watchServer(store: StateStore, transport: Transport, alive: () => Promise<boolean>): () => void {
  const abort = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wait = FIRST_WAIT;

  async function look(): Promise<void> {
    const slow = setTimeout(async () => {
      if ((await alive()) && !abort.signal.aborted && store.get().server === 'connecting')
        store.dispatch({ type: 'server', server: 'loading' });
    }, LOADING_AFTER);
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
    } finally {
      clearTimeout(slow);
    }
  }

  void look();
  return () => {
    abort.abort();
    clearTimeout(timer);
  };
}
