/** What is mutated together, and the tests that are to notice it: those of them that reach the mutated file are run. */
export interface Group {
  /** Folders and files; `folder/*` without the folders in it. */
  sources: string[];
  tests: string[];
  /** Tests that run inside workerd beside those in Node. */
  workerd?: string[];
}

export const GROUPS: Record<string, Group> = {
  policy: { sources: ['policy'], tests: ['tests/policy'], workerd: ['tests/workerd/scheduler.test.ts'] },
  engine: { sources: ['engine'], tests: ['tests/engine', 'tests/kernels/layout.test.ts', 'tests/embedder'] },
  openai: { sources: ['openai'], tests: ['tests/openai', 'tests/worker'] },
  grammar: { sources: ['models/grammar'], tests: ['tests/grammar'] },
  models: { sources: ['models/gguf', 'models/pack'], tests: ['tests/models'] },
  worker: { sources: ['worker', 'serving/routes', 'serving/*'], tests: ['tests/worker'] },
  scheduler: { sources: ['durable-objects/scheduler'], tests: ['tests/policy'], workerd: ['tests/workerd/scheduler.test.ts'] },
  serving: { sources: ['serving/run'], tests: ['tests/local', 'tests/worker', 'tests/policy/progress.test.ts'] },
  session: {
    sources: ['durable-objects/session', 'serving/responses'],
    tests: ['tests/responses', 'tests/worker', 'tests/local', 'tests/openai/responses.test.ts'],
    workerd: ['tests/workerd/session.test.ts', 'tests/workerd/session-pages.test.ts'],
  },
};
