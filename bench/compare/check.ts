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
  const positions = fixture.prompts.flatMap((p) => p.scores.map((s) => ({ ids: [...p.prompt, ...p.tokens.slice(0, s.step)], top: s.top })));
  const answers = await t.generate(
    positions.map((p) => p.ids),
    1,
  );
  let squares = 0;
  let compared = 0;
  for (const [i, { top }] of positions.entries()) {
    const ours = new Map(answers[i][0].top.map((x) => [x.id, x.logprob]));
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
  out.rms = Math.sqrt(squares / Math.max(1, compared));
  if (o.greedy) await partings(t, fixture.prompts, out);
  return out;
}

async function partings(t: Turnstone, prompts: readonly Recorded[], out: Agreement): Promise<void> {
  const most = Math.max(...prompts.map((p) => p.tokens.length));
  const answers = await t.generate(
    prompts.map((p) => p.prompt),
    most,
  );
  for (const [prompt, p] of prompts.entries()) {
    const ours = answers[prompt];
    const step = p.tokens.findIndex((id, k) => ours[k].id !== id);
    if (step < 0) {
      out.same++;
      continue;
    }
    const theirs = ours[step].top.find((x) => x.id === p.tokens[step]);
    out.partings.push({ prompt, step, gap: ours[step].logprob - (theirs?.logprob ?? -Infinity) });
  }
}
