import type { Stats } from './turns.ts';

/** Whose count and clock a speed is by. */
type Source = 'server' | 'page' | 'pieces';

/** Tokens per second after the first token; undefined where it cannot be told. */
export function rate({ first, last, pieces, usage, broken, timings }: Stats): { perSecond: number; by: Source } | undefined {
  if (timings && timings.decode.tokens > 0 && timings.decode.ms > 0) {
    return { perSecond: (timings.decode.tokens / timings.decode.ms) * 1000, by: 'server' };
  }
  const tokens = usage?.completion ?? pieces;
  if (broken || first === undefined || last === undefined || tokens < 2 || last - first < 1) return undefined;
  return { perSecond: ((tokens - 1) / (last - first)) * 1000, by: usage ? 'page' : 'pieces' };
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

const SPEEDS: Record<Source, string> = {
  server: 'Decode: tokens a second after the first, by the server’s count and clock',
  page: 'Decode: tokens a second after the first, by the server’s count and this page’s clock',
  pieces: 'Pieces received a second: the server gave no token count',
};

const perSecond = (n: number) => (n < 9.95 ? n.toFixed(1) : String(Math.round(n)));

/** What is known of an answer, most telling first. */
export function figures(stats: Stats): Figure[] {
  const out: Figure[] = [];
  const speed = rate(stats);
  if (speed) {
    out.push({
      value: speed.by === 'pieces' ? `~${perSecond(speed.perSecond)}` : perSecond(speed.perSecond),
      unit: 'tokens/s',
      title: SPEEDS[speed.by],
    });
  }
  const prefill = stats.timings?.prefill;
  if (prefill && prefill.tokens > 0 && prefill.ms > 0) {
    out.push({
      value: perSecond((prefill.tokens / prefill.ms) * 1000),
      unit: 'prompt tokens/s',
      title: `Prefill: ${prefill.tokens} prompt tokens computed in ${duration(prefill.ms)}, by the server’s clock`,
    });
  }
  const clocked = stats.served ?? prefill?.ms;
  const first = clocked || (stats.broken ? undefined : stats.first);
  if (first !== undefined) {
    const clock = clocked ? 'by the server’s clock' : 'seen from this page, queue and network included';
    out.push({ value: duration(first), unit: 'to first', title: `Time to the first token, ${clock}` });
  }
  if (stats.usage) {
    const { prompt, cached } = stats.usage;
    const { before = 0 } = stats;
    const tokens = before + stats.usage.completion;
    out.push({
      value: String(tokens),
      unit: tokens === 1 ? 'token' : 'tokens',
      title: `${tokens} tokens in the answer, ${prompt - before} in the prompt`,
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
