/**
 * A reporter that writes down for the gate (`NOTES`: the file) which tests passed only when tried again, how many were skipped for which
 * reason, and, as the run goes on, which files have not ended: one that hangs says nothing itself.
 */
import { writeFileSync } from 'node:fs';
import type { Reporter, TestCase, TestModule, TestSpecification } from 'vitest/node';
import { NO_REASON, type Noted, reasonIn, reasonSaid } from './skips.ts';

/** At most so often is a test's end written down. */
const EVERY_MS = 1_000;

export default class Notes implements Reporter {
  readonly #open = new Set<string>();
  readonly #count = { passed: 0, failed: 0 };
  #ended = false;
  #written = 0;
  readonly #retried: Noted['retried'] = [];
  readonly #skipped = new Map<string, number>();
  /** What files of tests printed of skipping. */
  readonly #said = new Map<string, Set<string>>();

  onUserConsoleLog(log: { content: string; taskId?: string }): void {
    const reasons = log.content.split('\n').flatMap((line) => reasonSaid(line) ?? []);
    for (const why of reasons) {
      const file = log.taskId ?? '';
      this.#said.set(file, (this.#said.get(file) ?? new Set()).add(why));
    }
  }

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    for (const { moduleId } of specifications) this.#open.add(moduleId);
    this.#write();
  }

  onTestCaseResult(): void {
    if (Date.now() > this.#written + EVERY_MS) this.#write(); // it goes on
  }

  onTestModuleEnd(module: TestModule): void {
    for (const test of module.children.allTests()) this.#tell(test);
    for (const test of module.children.allTests('skipped')) {
      const result = test.result();
      const note = result.state === 'skipped' ? result.note : undefined;
      const why =
        reasonIn(test.fullName) ??
        note ??
        ([...(this.#said.get(module.id) ?? [])].join('; ') || `${NO_REASON} in ${module.relativeModuleId}`);
      this.#skipped.set(why, (this.#skipped.get(why) ?? 0) + 1);
    }
    this.#open.delete(module.moduleId);
    this.#write();
  }

  onTestRunEnd(): void {
    this.#ended = true;
    this.#write();
  }

  #tell(test: TestCase): void {
    const result = test.result();
    if (result.state === 'passed' || result.state === 'failed') this.#count[result.state]++;
    const times = test.diagnostic()?.retryCount ?? 0;
    if (times === 0 || result.state !== 'passed') return;
    this.#retried.push({
      test: `${test.module.relativeModuleId} > ${test.fullName}`,
      times,
      why: result.errors?.[0]?.message?.split('\n')[0] ?? '',
    });
  }

  #write(): void {
    this.#written = Date.now();
    const skipped = [...this.#skipped].map(([why, tests]) => ({ why, tests }));
    const noted: Noted = { open: [...this.#open], ended: this.#ended, ...this.#count, retried: this.#retried, skipped };
    if (process.env.NOTES) writeFileSync(process.env.NOTES, JSON.stringify(noted));
  }
}
