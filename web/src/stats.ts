import type { Stats } from './state.ts';

/** Tokens per second after the first token; undefined where it cannot be told. `exact` is false without the server's count. */
export function rate({ first, last, pieces, usage }: Stats): { perSecond: number; exact: boolean } | undefined {
  const tokens = usage?.completion ?? pieces;
  if (first === undefined || last === undefined || tokens < 2 || last - first < 1) return undefined;
  return { perSecond: ((tokens - 1) / (last - first)) * 1000, exact: usage !== undefined };
}

/** 84 ms, 1.2 s, 14 s */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.max(1, Math.round(ms))} ms`;
  return `${ms < 9950 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)} s`;
}

/** One part of the line below an answer: a figure, what it counts, and the long form. */
export interface Figure {
  value: string;
  unit: string;
  title: string;
  /** Where there is more to see. */
  href?: string;
}

/** What is known of an answer, most telling first. */
export function figures(stats: Stats): Figure[] {
  const out: Figure[] = [];
  const speed = rate(stats);
  if (speed) {
    const value = speed.perSecond < 9.95 ? speed.perSecond.toFixed(1) : String(Math.round(speed.perSecond));
    out.push({
      value: speed.exact ? value : `~${value}`,
      unit: 'tokens/s',
      title: speed.exact ? 'Tokens per second after the first' : 'Pieces received per second: the server gave no token count',
    });
  }
  if (stats.first !== undefined)
    out.push({ value: duration(stats.first), unit: 'to first', title: 'Time to the first token, seen from this page' });
  if (stats.usage) {
    const { prompt, completion, cached } = stats.usage;
    out.push({
      value: String(completion),
      unit: completion === 1 ? 'token' : 'tokens',
      title: `${completion} tokens in the answer, ${prompt} in the prompt`,
    });
    if (cached > 0)
      out.push({ value: `${cached}/${prompt}`, unit: 'cached', title: `${cached} of ${prompt} prompt tokens came from the cache` });
  }
  if (stats.route) {
    const [place, ...rest] = stats.route.split('; ');
    out.push({ value: place, unit: 'prefill', title: `Where the prompt was computed: ${rest.join(', ')} (ms)`, href: '/npu' });
  }
  return out;
}
