import { defineConfig } from 'vitest/config';

// what is waited for comes late on a busy machine; a test that waits in vain fails all the same
const expect = { poll: { timeout: 10_000 } };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'node',
          include: ['tests/**/*.test.ts'],
          exclude: ['tests/workerd/**', 'tests/e2e/**'],
          testTimeout: 120_000,
          expect,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['tests/e2e/**/*.test.ts'],
          globalSetup: './tests/build.ts',
          testTimeout: 300_000,
          expect,
          hookTimeout: 300_000,
          retry: 2, // real servers, sockets and clocks on whatever machine this is; a retry is reported
          fileParallelism: false, // each file starts a server; their timings must not mix
        },
      },
    ],
  },
});
