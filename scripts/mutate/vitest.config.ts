/** The tests of one group (`FILES`), which the runner runs a file at a time. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: (process.env.FILES ?? '').split(' '),
    testTimeout: 120_000,
    expect: { poll: { timeout: 10_000 } },
    maxWorkers: 1,
    bail: 1,
    cache: false,
  },
});
