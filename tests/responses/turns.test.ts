/** Turns in memory. */
import { ResponseStore } from '../../serving/responses/memory-turns.ts';
import { turnCases } from './turn-cases.ts';

turnCases(async (work) => {
  const memory = new ResponseStore({ count: 1000, bytes: 1 << 28, ttlMs: 60_000, open: 1000 });
  try {
    work(Object.assign(memory, { insert: ResponseStore.prototype.insert.bind(memory, 's') }) as never);
  } finally {
    memory.close();
  }
});
