import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// what is waited for comes late on a busy machine; a test that waits in vain fails all the same
const expect = { poll: { timeout: 10_000 } };

/** What takes longest begins first, so that it does not run alone at the end. */
const LONG = ['tests/webgpu/chromium', 'tests/real/', 'tests/compare/', 'tests/npu/forward', 'tests/npu/faults', 'tests/grammar/combined'];
const rank = (f: TestSpecification): number => (LONG.findIndex((name) => f.moduleId.includes(name)) + LONG.length + 1) % (LONG.length + 1);

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
          testTimeout: 120_000,
          maxWorkers: availableParallelism(), // by itself vitest leaves one core idle
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
