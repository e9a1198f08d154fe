/** The tests of one mutant, in the order they are given (`FILES`, quickest first): the first that fails ends the run. */
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const files = (process.env.FILES ?? '').split(' ');
const rank = (f: TestSpecification): number => files.findIndex((name) => f.moduleId.endsWith(name));

class Given extends BaseSequencer {
  override async sort(all: TestSpecification[]): Promise<TestSpecification[]> {
    return all.sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    include: files,
    sequence: { sequencer: Given },
    testTimeout: 120_000,
    expect: { poll: { timeout: 10_000 } },
    maxWorkers: 1,
    bail: 1,
    cache: false,
  },
});
