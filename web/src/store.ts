import { useEffect, useState } from 'preact/hooks';
import { type Action, reduce, type State } from './state.ts';

/** The page's one state and who listens to it. */
export interface StateStore {
  get(): State;
  dispatch(action: Action): void;
  subscribe(listener: (state: State) => void): () => void;
}

export function createStore(initial: State): StateStore {
  let state = initial;
  const listeners = new Set<(state: State) => void>();
  return {
    get: () => state,
    dispatch(action) {
      const next = reduce(state, action);
      if (next === state) return;
      state = next;
      for (const listener of listeners) listener(state);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export function useStore(store: StateStore): State {
  const [state, set] = useState(store.get());
  useEffect(() => {
    set(store.get());
    return store.subscribe(set);
  }, [store]);
  return state;
}
