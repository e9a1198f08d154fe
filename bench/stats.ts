/** What is kept of repeated measurements. */
export interface Spread {
  median: number;
  /** Quartiles: half of all runs lie between them. */
  low: number;
  high: number;
  runs: number;
}

/** The q-quantile of values, 0 ≤ q ≤ 1, interpolated. Throws on none. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new Error('quantile of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const below = Math.floor(at);
  const above = sorted[Math.min(below + 1, sorted.length - 1)];
  return sorted[below] + (above - sorted[below]) * (at - below);
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export function spread(values: readonly number[]): Spread {
  return { median: median(values), low: quantile(values, 0.25), high: quantile(values, 0.75), runs: values.length };
}

/** Three significant digits, or as many as given. */
export const digits = (v: number, n = 3): string => (Math.abs(v) >= 1000 ? v.toFixed(0) : Number(v.toPrecision(n)).toString());

/** `12.3 (11.9–12.8)`. */
export const withSpread = (s: Spread, n?: number): string =>
  s.runs === 1 ? digits(s.median, n) : `${digits(s.median, n)} (${digits(s.low, n)}–${digits(s.high, n)})`;

/**
 * Runs each contender in turn, `rounds` times over (A B A B …), so that what the machine does meanwhile hits all alike.
 * Every contender runs once before without being counted when `warm` is set. Those in `once` run once in all.
 */
export async function alternate<K extends string>(
  contenders: Readonly<Record<K, (round: number) => Promise<number>>>,
  rounds: number,
  o: { warm?: boolean; once?: readonly string[]; onRun?: (name: K, round: number, value: number) => void } = {},
): Promise<Record<K, Spread>> {
  const names = Object.keys(contenders) as K[];
  const values = Object.fromEntries(names.map((n) => [n, [] as number[]])) as Record<K, number[]>;
  for (let round = o.warm ? -1 : 0; round < rounds; round++) {
    for (const name of names) {
      if (round !== 0 && o.once?.includes(name)) continue;
      const value = await contenders[name](round);
      if (round >= 0) values[name].push(value);
      o.onRun?.(name, round, value);
    }
  }
  return Object.fromEntries(names.map((n) => [n, spread(values[n])])) as Record<K, Spread>;
}
