/** Compares Turnstone with what was recorded of llama.cpp. */
import type { Fixture, Recorded } from './fixture.ts';
import type { Turnstone } from './turnstone.ts';

export interface Agreement {
  /** Positions compared. */
  positions: number;
  /** Largest and root mean square difference of a log-probability among llama.cpp's best tokens. */
  worst: number;
  rms: number;
  /** Best tokens of llama.cpp that are not among Turnstone's 20 best. */
  absent: number;
  /** Prompts whose greedy tokens are all the same. */
  same: number;
  prompts: number;
  /** Where greedy tokens part for the first time: by how much Turnstone preferred its own, as a log-probability. */
  partings: { prompt: number; step: number; gap: number }[];
}

/** `greedy: false` skips the greedy run. Turnstone computes every recorded position after llama.cpp's own tokens. */
export async function agreement(t: Turnstone, fixture: Fixture, o: { greedy: boolean }): Promise<Agreement> {
  const out: Agreement = { positions: 0, worst: 0, rms: 0, absent: 0, same: 0, prompts: fixture.prompts.length, partings: [] };
  let squares = 0;
  let compared = 0;
  for (const [i, p] of fixture.prompts.entries()) {
    for (const { step, top } of p.scores) {
      const [next] = await t.generate([...p.prompt, ...p.tokens.slice(0, step)], 1);
      const ours = new Map(next.top.map((x) => [x.id, x.logprob]));
      out.positions++;
      for (const [id, logprob] of top) {
        const mine = ours.get(id);
        if (mine === undefined) {
          out.absent++;
          continue;
        }
        const difference = Math.abs(mine - logprob);
        out.worst = Math.max(out.worst, difference);
        squares += difference ** 2;
        compared++;
      }
    }
    if (o.greedy) await parting(t, p, i, out);
  }
  out.rms = Math.sqrt(squares / Math.max(1, compared));
  return out;
}

async function parting(t: Turnstone, p: Recorded, prompt: number, out: Agreement): Promise<void> {
  const ours = await t.generate(p.prompt, p.tokens.length);
  const step = ours.findIndex((x, k) => x.id !== p.tokens[k]);
  if (step < 0) {
    out.same++;
    return;
  }
  const theirs = ours[step].top.find((x) => x.id === p.tokens[step]);
  out.partings.push({ prompt, step, gap: ours[step].logprob - (theirs?.logprob ?? -Infinity) });
}
