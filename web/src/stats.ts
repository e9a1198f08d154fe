import type { Stats } from './turns.ts';

/** Tokens per second after the first token; undefined where it cannot be told. `exact` is false without the server's count. */
export function rate({ first, last, pieces, usage, broken }: Stats): { perSecond: number; exact: boolean } | undefined {
  const tokens = usage?.completion ?? pieces;
  if (broken || first === undefined || last === undefined || tokens < 2 || last - first < 1) return undefined;
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

const perSecond = (n: number) => (n < 9.95 ? n.toFixed(1) : String(Math.round(n)));

/** What is known of an answer, most telling first. */
export function figures(stats: Stats): Figure[] {
  const out: Figure[] = [];
  const speed = rate(stats);
  if (speed) {
    out.push({
      value: speed.exact ? perSecond(speed.perSecond) : `~${perSecond(speed.perSecond)}`,
      unit: 'tokens/s',
      title: speed.exact
        ? 'Decode: tokens a second after the first, by the server’s count and this page’s clock'
        : 'Pieces received a second: the server gave no token count',
    });
  }
  const first = stats.served ?? (stats.broken ? undefined : stats.first);
  if (first !== undefined) {
    // pages that the accelerator computed count as cached: of its pace this says nothing
    const computed = stats.usage && !stats.route?.startsWith('npu') && stats.usage.prompt - stats.usage.cached;
    const pace = computed ? `: ${computed} prompt tokens computed, ${perSecond((computed / first) * 1000)} a second at least` : '';
    const clock = stats.served === undefined ? 'seen from this page, queue and network included' : 'by the server’s clock';
    out.push({ value: duration(first), unit: 'to first', title: `Prefill${pace}; time to the first token, ${clock}` });
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
