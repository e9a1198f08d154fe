/** A reporter that writes down which tests passed only when they were tried again (`RETRIES`: the file). */
import { writeFileSync } from 'node:fs';
import type { Reporter, TestCase } from 'vitest/node';

export default class Retries implements Reporter {
  readonly #retried: { test: string; times: number; why: string }[] = [];

  onTestCaseResult(test: TestCase): void {
    const times = test.diagnostic()?.retryCount ?? 0;
    if (times === 0) return;
    const [error] = test.result().errors ?? [];
    this.#retried.push({ test: `${test.module.relativeModuleId} > ${test.fullName}`, times, why: error?.message?.split('\n')[0] ?? '' });
  }

  onTestRunEnd(): void {
    if (process.env.RETRIES) writeFileSync(process.env.RETRIES, JSON.stringify(this.#retried));
  }
}
