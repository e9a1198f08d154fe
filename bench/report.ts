/** What a suite gives: figures, each with its spread, and targets that were reached or missed. */
import { table } from '../cli/table.ts';
import type { Machine } from './machine.ts';
import { digits, type Spread, withSpread } from './stats.ts';

export interface Figure {
  name: string;
  unit: string;
  value: Spread;
  /** What the machine could do at most, in the same unit. */
  limit?: number;
  note?: string;
  /** Significant digits, 3 unless given. */
  precision?: number;
}

export interface Target {
  name: string;
  got: number;
  /** Reached when got ≥ want, or ≤ for `most`. */
  want: number;
  most?: boolean;
  unit: string;
}

export interface Report {
  suite: string;
  machine: Machine;
  command: string;
  seconds: number;
  figures: Figure[];
  targets: Target[];
  notes: string[];
}

/** What a suite is given. */
export interface Bench {
  /** Runs of each measurement, at most. */
  rounds: number;
  /** Names of the only models to measure, in suites that measure several; all unless given. */
  only?: readonly string[];
  /** A line of progress; the next one replaces it on a terminal. */
  progress(line: string): void;
  figure(f: Figure): void;
  target(t: Target): void;
  note(line: string): void;
}

export const reached = (t: Target): boolean => (t.most ? t.got <= t.want : t.got >= t.want);

export function figureLines(figures: readonly Figure[]): string[] {
  const rows = figures.map((f) => [
    f.name,
    withSpread(f.value, f.precision),
    f.unit,
    f.limit ? `${((100 * f.value.median) / f.limit).toFixed(0)}% of ${digits(f.limit)}` : '',
    f.note ?? '',
  ]);
  return table(['', 'median (quartiles)', 'unit', 'limit', ''], rows);
}

export function targetLines(targets: readonly Target[]): string[] {
  const rows = targets.map((t) => [
    reached(t) ? '✓' : '✗',
    t.name,
    `${digits(t.got)}${t.unit}`,
    `${t.most ? '≤' : '≥'} ${digits(t.want)}${t.unit}`,
  ]);
  return table(['', 'target', 'got', 'wanted'], rows);
}
