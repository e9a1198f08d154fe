/** docs/performance.md and its pictures, from the reports in docs/performance: nothing in there is typed by hand. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../cli/build.ts';
import { describeMachine } from './machine.ts';
import { writeMeasured } from './measured.ts';
import { type Figure, type Report, reached, type Target } from './report.ts';
import { digits, withSpread } from './stats.ts';
import { barChart } from './svg.ts';

const FOLDER = join(ROOT, 'docs/performance');
const ORDER = [
  'gate',
  'peers',
  'real',
  'engine',
  'speculation',
  'adapters',
  'serving',
  'sessions',
  'embeddings',
  'quality',
  'roofline',
  'kernels',
];
const TITLES: Record<string, string> = {
  gate: 'The targets',
  peers: 'Beside llama.cpp, wllama and ONNX Runtime Web',
  real: 'Real models beside llama.cpp',
  engine: 'The engine alone',
  speculation: 'Speculation',
  adapters: 'Adapters beside the base',
  serving: 'Over HTTP',
  sessions: 'Sessions on a cold replica',
  quality: 'Real models: what answers lose',
  roofline: 'What one core can do',
  kernels: 'Kernels',
};

const INTRO = `# Performance

Written by \`npm run bench -- <suite> --publish\` from the reports in [performance/](performance/). Figures are medians of alternating
runs (A B A B …), with quartiles where there were several; ratios are of medians. Turnstone runs inside workerd on one thread unless
it says otherwise, its peers on one thread too: llama.cpp natively (node-llama-cpp's prebuilt library, which picks the best
instructions of the processor), wllama and ONNX Runtime Web in headless Chromium. "SmolLM2 shape" is random weights in the shape of
SmolLM2-135M, Q4_0, the same file for all. \`ppN\` is N prompt tokens to the first token, \`tg64\` 64 decode steps. Times are taken
outside the isolate.
`;

/** Why a report may not be published, or nothing: figures say little without the core that gave them. */
export function unpublishable({ suite, machine, command }: Pick<Report, 'suite' | 'machine' | 'command'>): string | undefined {
  if (/^unknown|^$/.test(machine.cpu) || machine.flags.length === 0)
    return 'this system does not tell the name of its processor and its instructions';
  if (suite === 'speculation' && !command.includes('--clock cpu'))
    return "an answer of the shipped model takes milliseconds, on the wall's clock that is noise: add --clock cpu";
  return undefined;
}

/** What was measured and is no number, such as the rate of an answer without a second token; or nothing. */
export function unmeasured({ figures, targets }: Pick<Report, 'figures' | 'targets'>): string | undefined {
  const none = [...figures.filter((f) => !Number.isFinite(f.value.median)), ...targets.filter((t) => !Number.isFinite(t.got))];
  return none.length > 0 ? `no number: ${none.map((n) => n.name).join(', ')}` : undefined;
}

/** Throws when it may not be published. */
export function publish(report: Report): void {
  const why = unpublishable(report) ?? unmeasured(report);
  if (why) throw new Error(`not published: ${why}`);
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, `${report.suite}.json`), `${JSON.stringify(report, null, 1)}\n`);
  render();
}

/** Writes the page from all reports there are. */
export function render(): void {
  const files = existsSync(FOLDER) ? readdirSync(FOLDER).filter((f) => f.endsWith('.json')) : [];
  const reports = files.map((f) => JSON.parse(readFileSync(join(FOLDER, f), 'utf8')) as Report);
  reports.sort((a, b) => ORDER.indexOf(a.suite) - ORDER.indexOf(b.suite));
  const parts = [INTRO];
  for (const r of reports) {
    parts.push(`## ${TITLES[r.suite] ?? r.suite}\n`);
    parts.push(`\`${r.command}\`, ${r.seconds} s. ${describeMachine(r.machine)}.\n`);
    if (r.machine.load > 1) {
      parts.push(
        `**The machine was busy with other work (load ${r.machine.load} on ${r.machine.cores} cores): absolute figures are too low, and only ratios of neighbouring runs mean something.**\n`,
      );
    }
    for (const line of r.notes) parts.push(`${line}\n`);
    if (r.targets.length > 0) parts.push(targets(r.targets));
    for (const picture of pictures(r)) parts.push(`![${picture}](performance/${picture}.svg)\n`);
    parts.push(figures(r.figures));
  }
  const without = join(FOLDER, 'without-vnni.md'); // bench/ways.ts
  if (existsSync(without)) parts.push(readFileSync(without, 'utf8'));
  const told = reports.filter((r) => ['gate', 'real', 'speculation', 'kernels'].includes(r.suite));
  parts.push(limits(told.length > 0 ? told : undefined));
  writeFileSync(join(ROOT, 'docs/performance.md'), parts.join('\n'));
  writeMeasured(reports);
}

/**
 * What limits the targets that the gate, the real models, speculation and the kernels missed: the sections of limits.md that name them, in a comment of the
 * beginnings of targets' names. All sections while neither was published. A missed target that no section names is said.
 */
export function limits(reports: readonly Report[] | undefined, file = readFileSync(join(FOLDER, 'limits.md'), 'utf8')): string {
  const [intro, ...sections] = file.split(/^(?=### )/m);
  const missed = reports?.flatMap((r) => r.targets.filter((t) => !reached(t)).map((t) => t.name));
  if (!missed) return file;
  if (missed.length === 0) return '';
  const names = (section: string) => /<!-- (.*) -->/.exec(section)?.[1].split('; ') ?? [];
  const of = (section: string) => missed.filter((m) => names(section).some((n) => m.startsWith(n)));
  const open = missed.filter((m) => !sections.some((s) => of(s).includes(m)));
  const told = open.length > 0 ? `Missed, and not looked into yet: ${open.join(', ')}.\n` : '';
  return [intro, ...sections.filter((s) => of(s).length > 0), told].join('');
}

const cell = (s: string) => s.replaceAll('|', '\\|');

function targets(list: readonly Target[]): string {
  const rows = list.map(
    (t) =>
      `| ${reached(t) ? 'reached' : '**missed**'} | ${cell(t.name)} | ${digits(t.got)}${t.unit} | ${t.most ? '≤' : '≥'} ${digits(t.want)}${t.unit} |`,
  );
  return ['| | target | got | wanted |', '| --- | --- | ---: | ---: |', ...rows, ''].join('\n');
}

function figures(list: readonly Figure[]): string {
  const rows = list.map((f) => {
    const limit = f.limit ? `${((100 * f.value.median) / f.limit).toFixed(0)} % of ${digits(f.limit)}` : '';
    return `| ${cell(f.name)} | ${withSpread(f.value, f.precision)} | ${f.unit} | ${limit} | ${cell(f.note ?? '')} |`;
  });
  return ['| | median (quartiles) | | of the limit | |', '| --- | ---: | --- | ---: | --- |', ...rows, ''].join('\n');
}

const COLUMN = /^(?:Q4_0 )?(pp128|pp512|tg64 at depth 0|tg64 at depth 1024) (.+)$/;

/** Names of the pictures that were drawn. */
function pictures(r: Report): string[] {
  const out: string[] = [];
  const compared = r.figures.flatMap((f) => {
    const m = COLUMN.exec(f.name);
    return m ? [{ column: m[1], contender: m[2], value: f.value.median }] : [];
  });
  const note = `SmolLM2 shape, one thread; ${r.machine.cpu}, ${r.machine.date.slice(0, 10)}`;
  const contenders = [...new Set(compared.map((c) => c.contender))];
  for (const [kind, label] of [
    ['pp', 'Prefill'],
    ['tg', 'Decode'],
  ] as const) {
    const groups = [...new Set(compared.filter((c) => c.column.startsWith(kind)).map((c) => c.column))];
    if (groups.length === 0 || contenders.length < 2) continue;
    const series = contenders.map((name) => ({
      name,
      values: groups.map((g) => compared.find((c) => c.column === g && c.contender === name)?.value ?? 0),
    }));
    const name = `${r.suite}-${kind}`;
    writeFileSync(join(FOLDER, `${name}.svg`), barChart({ title: label, note, y: { label: 'tokens/s' }, groups, series }));
    out.push(name);
  }
  const batches = r.figures.flatMap((f) => {
    const m = /^decode of (\d+) together(?:, (.+))?$/.exec(f.name);
    return m ? [{ group: m[1], contender: m[2] ?? 'turnstone (workerd)', value: f.value.median }] : [];
  });
  if (batches.length > 1) {
    const name = `${r.suite}-batch`;
    const chart = {
      title: 'Decode of several sequences together',
      note,
      y: { label: 'tokens/s of all' },
      groups: [...new Set(batches.map((b) => b.group))],
      series: [...new Set(batches.map((b) => b.contender))].map((name) => ({
        name,
        values: batches.filter((b) => b.contender === name).map((b) => b.value),
      })),
    };
    writeFileSync(join(FOLDER, `${name}.svg`), barChart(chart));
    out.push(name);
  }
  const losses = r.figures.flatMap((f) => {
    const [model, what] = f.name.split(': ');
    const m = /^([+−])([\d.]+) % .* against llama.cpp$/.exec(f.note ?? '');
    return m ? [{ model, what, value: (m[1] === '−' ? -1 : 1) * Number(m[2]) }] : [];
  });
  if (losses.length > 0) {
    const name = `${r.suite}-perplexity`;
    const groups = [...new Set(losses.map((l) => l.model))];
    const series = [...new Set(losses.map((l) => l.what))].map((name) => ({
      name,
      values: groups.map((g) => losses.find((l) => l.model === g && l.what === name)?.value ?? 0),
    }));
    const note = `lower is better; ${r.machine.cpu}, ${r.machine.date.slice(0, 10)}`;
    const chart = { title: 'Perplexity of real models against llama.cpp', note, y: { label: 'above llama.cpp, %' }, groups, series };
    writeFileSync(join(FOLDER, `${name}.svg`), barChart(chart));
    out.push(name);
  }
  return out;
}
