import { type Engine, GREEDY } from '../../engine/index.ts';

/**
 * A prompt of more than a tile and two tokens after it: compiles the kernels that requests will use, so that the first one
 * need not wait for them, and a GPU that cannot run them says so now. Rejects with what the backend says.
 */
export async function warmUp(engine: Engine): Promise<void> {
  engine.add({
    ...{ id: 'warm up', prompt: Array.from({ length: 40 }, () => 1), maxTokens: 3, stopIds: [], salt: 'warm up' },
    sampling: GREEDY,
  });
  while (engine.busy) for (const { error } of await engine.step()) if (error !== undefined) throw error;
}
