/** A reporter that writes down, for the gate, which tests passed only when tried again, and how many were skipped for which reason (`NOTES`: the file). */
import { writeFileSync } from 'node:fs';
import type { Reporter, TestCase, TestModule } from 'vitest/node';
import { NO_REASON, type Noted, reasonIn, reasonSaid } from './skips.ts';

export default class Notes implements Reporter {
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

  onTestCaseResult(test: TestCase): void {
    const times = test.diagnostic()?.retryCount ?? 0;
    const result = test.result();
    if (times === 0 || result.state !== 'passed') return;
    this.#retried.push({
      test: `${test.module.relativeModuleId} > ${test.fullName}`,
      times,
      why: result.errors?.[0]?.message?.split('\n')[0] ?? '',
    });
  }

  onTestModuleEnd(module: TestModule): void {
    for (const test of module.children.allTests('skipped')) {
      const result = test.result();
      const note = result.state === 'skipped' ? result.note : undefined;
      const why =
        reasonIn(test.fullName) ??
        note ??
        ([...(this.#said.get(module.id) ?? [])].join('; ') || `${NO_REASON} in ${module.relativeModuleId}`);
      this.#skipped.set(why, (this.#skipped.get(why) ?? 0) + 1);
    }
  }

  onTestRunEnd(): void {
    const noted: Noted = { retried: this.#retried, skipped: [...this.#skipped].map(([why, tests]) => ({ why, tests })) };
    if (process.env.NOTES) writeFileSync(process.env.NOTES, JSON.stringify(noted));
  }
}
