/** Steps that are not measured after a change: others were under way. */
const SETTLING = 4;
/** Steps of a trial. */
const TRIAL = 12;
/** Trials of what is best between two of what is beside it: the machine may have other work by now. */
const BETWEEN = 16;

/** What is known of so many sequences. Lists are by the number of groups. */
interface Known {
  /** Rows a ms. */
  rates: number[];
  /** Number of the last trial. */
  tried: number[];
  trials: number;
  /** The trial that is on. */
  now: { groups: number; steps: number; ms: number; rows: number };
}

/**
 * In how many groups sequences decode where several steps are under way. More of them keep more places busy, but each reads all weights: what is best depends
 * on how many of the places have a core, which only the time of steps tells. So it is tried: from the most groups down, and from the best to its neighbours now and then.
 */
export class Groups {
  private readonly known = new Map<number, Known>();
  private sequences = 0;
  private most = 1;
  private settling = 0;

  /** The number of groups, at most `most`, for a number of sequences, however that is counted. */
  of(sequences: number, most: number): number {
    if (sequences !== this.sequences) this.settling = SETTLING;
    this.sequences = sequences;
    this.most = most;
    if (most <= 1) return 1;
    let known = this.known.get(sequences);
    if (!known) this.known.set(sequences, (known = { rates: [], tried: [], trials: 0, now: begun(most) }));
    return Math.min(known.now.groups, most);
  }

  /** So long took steps that were nothing but decoding, with so many rows each. */
  measure(ms: number, rows: readonly number[]): void {
    const { most } = this;
    const known = this.known.get(this.sequences);
    if (!known || most <= 1) return; // there is no choice
    this.settling -= rows.length;
    if (this.settling >= 0) return;
    const { now } = known;
    now.steps += rows.length;
    now.ms += ms;
    now.rows += rows.reduce((n, r) => n + r, 0);
    if (now.steps < TRIAL) return;
    known.rates[now.groups] = now.rows / now.ms;
    known.tried[now.groups] = ++known.trials;
    known.now = begun(next(known, most));
    if (known.now.groups !== now.groups) this.settling = SETTLING;
  }
}

const begun = (groups: number): Known['now'] => ({ groups, steps: 0, ms: 0, rows: 0 });

/** The next to be tried: a neighbour of the best that is not known, or has not been tried for long; else the best. */
function next({ rates, tried, trials }: Known, most: number): number {
  let best = 0;
  rates.forEach((rate, groups) => {
    if (groups <= most && rate > (rates[best] ?? 0)) best = groups;
  });
  const beside = [best - 1, best + 1].filter((groups) => groups >= 1 && groups <= most);
  const oldest = beside.sort((a, b) => (tried[a] ?? 0) - (tried[b] ?? 0))[0];
  return tried[oldest] === undefined || trials - tried[oldest] >= BETWEEN ? oldest : best;
}
