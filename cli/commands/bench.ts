/** `turnstone bench`: what a model does on this machine, or at a server that runs: tokens a second read and written. */
import { progress } from '../progress.ts';
import { served } from './run.ts';

export interface BenchFlags {
  url?: string;
  memoryMb?: number;
  /** Tokens of the prompt. */
  prompt: number;
  /** Tokens that are written. */
  tokens: number;
  rounds: number;
  json?: boolean;
}

interface Timings {
  prefill_tokens: number;
  prefill_ms: number;
  decode_tokens: number;
  decode_ms: number;
}

/** Tokens that any vocabulary has, and that are not special in it. */
const SOME = { from: 300, to: 500 };

/** By the server's own clock, each round with a prompt that nobody cached; the median is shown. Rejects when the prompt does not fit the context. */
export async function benchCommand(model: string | undefined, o: BenchFlags, say: (line: string) => void = console.log): Promise<void> {
  for (const [name, n, least] of [
    ['prompt', o.prompt, 1],
    ['tokens', o.tokens, 2],
    ['rounds', o.rounds, 1],
  ] as const)
    if (!Number.isInteger(n) || n < least || n > 1 << 20) throw new Error(`--${name} is ${n}, must be an integer in ${least}..${1 << 20}`);
  const { chat, stop } = await served(model, o);
  const show = progress();
  try {
    const times: Timings[] = [];
    for (let round = -1; round < o.rounds; round++) {
      show(
        round < 0
          ? `${chat.model} is loaded …`
          : `round ${round + 1} of ${o.rounds}: ${o.prompt} tokens are read and ${o.tokens} written …`,
      );
      const t = await once(chat, round, round < 0 ? { ...o, tokens: 2 } : o); // the first loads the model
      if (round >= 0) times.push(t);
    }
    show();
    const rate = (of: (t: Timings) => number) => median(times.map(of));
    const figures = {
      ...{ model: chat.model, rounds: o.rounds, prompt: times[0].prefill_tokens, written: times[0].decode_tokens + 1 },
      prefill_per_s: rate((t) => (1000 * t.prefill_tokens) / t.prefill_ms),
      decode_per_s: rate((t) => (1000 * t.decode_tokens) / t.decode_ms),
      first_ms: rate((t) => t.prefill_ms),
    };
    if (o.json) return say(JSON.stringify(figures));
    say(`${chat.model}, median of ${o.rounds}, by the server's clock:`);
    say(
      `  prefill  ${figures.prefill_per_s.toFixed(1)} tokens/s (${figures.prompt} tokens, the first answer after ${figures.first_ms.toFixed(0)} ms)`,
    );
    say(`  decode   ${figures.decode_per_s.toFixed(1)} tokens/s (${figures.written} tokens)`);
  } finally {
    await stop();
  }
}

async function once(chat: { url: string; model: string; key?: string }, round: number, o: BenchFlags): Promise<Timings> {
  const r = await fetch(`${chat.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(chat.key && { authorization: `Bearer ${chat.key}` }) },
    body: JSON.stringify({
      ...{ model: chat.model, max_tokens: o.tokens, temperature: 0, ignore_eos: true, explain: true },
      prompt: Array.from({ length: o.prompt }, (_, i) => SOME.from + ((i * 37 + round * 11) % (SOME.to - SOME.from))),
      cache_salt: `bench ${process.pid} ${round} ${performance.now()}`,
    }),
  });
  const body = (await r.json()) as { error?: { message: string }; turnstone?: { timings?: Timings } };
  if (!r.ok) throw new Error(body.error?.message ?? `the server answered ${r.status}`);
  if (!body.turnstone?.timings) throw new Error('the server tells no timings');
  return body.turnstone.timings;
}

const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};
