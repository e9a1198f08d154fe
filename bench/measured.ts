/** `npx tsx bench/measured.ts`: the table of real models in docs/models.md, from what the suites `real` and `quality` published. Publishing writes it, too. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../cli/build.ts';
import { describeMachine } from './machine.ts';
import { REAL_MODELS } from './real-models.ts';
import type { Report } from './report.ts';
import { digits } from './stats.ts';

const MARKS = ['<!-- measured: npx tsx bench/measured.ts -->', '<!-- /measured -->'] as const;
const HEAD = [
  'model',
  'perplexity',
  'llama.cpp',
  'prompt of 512',
  'one stream',
  'at depth 1,024',
  'eight streams',
  'llama.cpp: prompt, one stream',
];

/** The page with the table anew. Throws when the marks are not there. */
export function withMeasured(page: string, reports: readonly Report[]): string {
  const [from, to] = [page.indexOf(MARKS[0]), page.indexOf(MARKS[1])];
  if (from < 0 || to < from) throw new Error(`the page has no ${MARKS.join(' and ')}`);
  const [real, quality] = ['real', 'quality'].map((suite) => reports.find((r) => r.suite === suite));
  const cell = (report: Report | undefined, name: string): string => {
    const figure = report?.figures.find((f) => f.name === name);
    return figure ? digits(figure.value.median, figure.precision) : '';
  };
  const rows = Object.values(REAL_MODELS).map(({ name }) => {
    const [ours, theirs] = ['turnstone (workerd)', 'llama.cpp (native)'];
    const speed = (what: string) => cell(real, `${name}: ${what}`);
    const native = [speed(`pp512 ${theirs}`), speed(`tg64 at depth 0 ${theirs}`)].filter(Boolean).join(', ');
    const own = [`pp512 ${ours}`, `tg64 at depth 0 ${ours}`, `tg64 at depth 1024 ${ours}`, 'decode of 8 together'].map(speed);
    return [name, cell(quality, `${name}: as served`), cell(quality, `${name}: llama.cpp`), ...own, native];
  });
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const table = [line(HEAD), line(HEAD.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)];
  const taken = [real, quality].flatMap((r) => (r ? [`\`${r.command}\`: ${describeMachine(r.machine)}.`] : []));
  return `${page.slice(0, from + MARKS[0].length)}\n${table.join('\n')}\n\nTokens a second, in one process of workerd and one thread. ${taken.join(' ')}\n${page.slice(to)}`;
}

/** Writes it from the reports in docs/performance. */
export function writeMeasured(reports: readonly Report[]): void {
  const path = join(ROOT, 'docs/models.md');
  writeFileSync(path, withMeasured(readFileSync(path, 'utf8'), reports));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = ['real', 'quality'].map((suite) => join(ROOT, `docs/performance/${suite}.json`)).filter((path) => existsSync(path));
  writeMeasured(files.map((path) => JSON.parse(readFileSync(path, 'utf8')) as Report));
}
