import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// what is waited for comes late on a busy machine; a test that waits in vain fails all the same
const expect = { poll: { timeout: 10_000 } };

/** What takes longest begins first, so that it does not run alone at the end. */
const LONG = [
  ...['tests/webgpu/chromium', 'tests/engine/staged', 'tests/real/', 'tests/compare/', 'tests/engine/', 'tests/npu/', 'tests/models/fuzz'],
  ...['tests/e2e/stages-real', 'tests/e2e/dialects', 'tests/e2e/device', 'tests/e2e/launcher', 'tests/e2e/sessions', 'tests/e2e/page'],
];
const rank = (f: TestSpecification): number => (LONG.findIndex((name) => f.moduleId.includes(name)) + LONG.length + 1) % (LONG.length + 1);

/**
 * Of the tests over real servers, those that hold times: they run alone. `E2E=together` leaves them out and runs the others two at a time,
 * `E2E=timed` runs only them; without it all run, one file after the other.
 */
const TIMED = ['fair-keys', 'npu-faults', 'page-context', 'processes', 'serving', 'session-pages', 'sessions-replicas'].map(
  (name) => `tests/e2e/${name}.test.ts`,
);
const together = process.env.E2E === 'together';

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongFirst },
    projects: [
      {
        test: {
          name: 'node',
          include: ['tests/**/*.test.ts'],
          exclude: ['tests/workerd/**', 'tests/e2e/**'],
          globalSetup: './tests/kernels/build.ts',
          testTimeout: 120_000,
          hookTimeout: 60_000,
          maxWorkers: availableParallelism(), // by itself vitest leaves one core idle
          expect,
        },
      },
      {
        test: {
          name: 'e2e',
          include: process.env.E2E === 'timed' ? TIMED : ['tests/e2e/**/*.test.ts'],
          exclude: together ? TIMED : [],
          globalSetup: './tests/build.ts',
          testTimeout: 300_000,
          expect,
          hookTimeout: 300_000,
          retry: 2, // real servers, sockets and clocks on whatever machine this is; a retry is reported
          maxWorkers: together ? 2 : 1, // each file starts servers of its own
        },
      },
    ],
  },
});
