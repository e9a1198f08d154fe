/** Kernels take so many tokens at once: fewer sequences a step read the weights as often for less. */
export const TOGETHER = 4;
/** Steps that are not measured after a change: others were under way. */
const SETTLING = 4;
/** Steps of a trial. */
const TRIAL = 12;
/** So many steps are enough of what brings sequences on so much slower than the best. */
const POOR = { steps: 4, rate: 0.8 };
/** Trials between two of what is beside the best: what was measured first was measured cold, and the machine may have other work by now. */
const BETWEEN = { least: 2, most: 16 };

/** What is known of so many fours of sequences. Lists are by the number of groups. */
interface Known {
  /** Times a ms that all sequences had a step. */
  rates: number[];
  /** Number of the last trial. */
  tried: number[];
  trials: number;
  /** The trial that is on. */
  now: { groups: number; steps: number; ms: number; rounds: number };
}

/**
 * In how many groups sequences decode where several steps are under way. More of them keep more places busy, but each reads all weights: what is best depends
 * on how many of the places have a core, which only the time of steps tells. So it is tried: from the most groups down, and from the best to its neighbours now and then.
 */
export class Groups {
  private readonly known = new Map<number, Known>();
  private fours = 0;
  private sequences = 0;
  private most = 1;
  private settling = 0;

  /** Sequences of a group, where so many decode in `most` groups at the most: as many in each, or whole fours. */
  size(sequences: number, most: number): number {
    const fours = Math.max(1, Math.ceil(sequences / TOGETHER));
    const groups = this.of(sequences, most);
    const each = Math.ceil(fours / groups);
    return each === 1 ? Math.ceil(sequences / groups) : each * TOGETHER;
  }

  /** The number of groups. */
  of(sequences: number, most: number): number {
    const fours = Math.max(1, Math.ceil(sequences / TOGETHER));
    if (fours !== this.fours) this.settling = SETTLING;
    this.fours = fours;
    this.sequences = sequences;
    this.most = Math.min(fours, most);
    if (this.most === 1) return 1;
    let known = this.known.get(fours);
    if (!known) this.known.set(fours, (known = { rates: [], tried: [], trials: 0, now: begun(this.most) }));
    return Math.min(known.now.groups, this.most);
  }

  /** So long took steps that were nothing but decoding, with so many rows each. */
  measure(ms: number, rows: readonly number[]): void {
    const { most } = this;
    const known = this.known.get(this.fours);
    if (!known || most <= 1) return; // there is no choice
    this.settling -= rows.length;
    if (this.settling >= 0) return;
    const { now } = known;
    now.steps += rows.length;
    now.ms += ms;
    now.rounds += rows.reduce((n, r) => n + r, 0) / this.sequences;
    const rate = now.rounds / now.ms;
    const best = known.rates.reduce((most, other, groups) => (groups === now.groups ? most : Math.max(most, other)), 0);
    if (now.steps < (rate < POOR.rate * best ? POOR.steps : TRIAL)) return;
    known.rates[now.groups] = rate;
    known.tried[now.groups] = ++known.trials;
    known.now = begun(next(known, most));
    if (known.now.groups !== now.groups) this.settling = SETTLING;
  }
}

const begun = (groups: number): Known['now'] => ({ groups, steps: 0, ms: 0, rounds: 0 });

/** The next to be tried: a neighbour of the best that has not been tried for long, the longer the more is known; else the best. */
function next({ rates, tried, trials }: Known, most: number): number {
  let best = 0;
  rates.forEach((rate, groups) => {
    if (groups <= most && rate > (rates[best] ?? 0)) best = groups;
  });
  const beside = [best - 1, best + 1].filter((groups) => groups >= 1 && groups <= most);
  const oldest = beside.sort((a, b) => (tried[a] ?? 0) - (tried[b] ?? 0))[0];
  const between = Math.min(BETWEEN.most, Math.max(BETWEEN.least, trials / 2));
  return trials - (tried[oldest] ?? 0) >= between ? oldest : best;
}
