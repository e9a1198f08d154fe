/**
 * What an object logs, the pool sends to its runner by a call out of that object, and the run waits for all of these to come back: that of
 * an object which is aborted meanwhile never does, and the run never ends (github.com/cloudflare/workers-sdk/issues/14180; mended in a
 * later version). Here objects are aborted right after they have said what is wrong. So they say it to nobody.
 */
import { beforeEach, vi } from 'vitest';

beforeEach(() => {
  for (const level of ['log', 'warn', 'error'] as const) vi.spyOn(console, level).mockImplementation(() => {});
});
