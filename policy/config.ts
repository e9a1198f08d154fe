/** Everything the scheduler's policy can be told. Times in ms, sizes in tokens. */
export interface PolicyConfig {
  /** Waiting requests in all; beyond it the tenant with the longest queue loses its newest. */
  maxQueue: number;
  /** A request predicted to wait longer is refused at once. */
  maxWaitMs: number;
  /** A waiting request's priority number falls by one each time it has waited so long: nothing starves. */
  agingMs: number;
  /** VTC's weights of a computed prompt token and of a generated one. */
  promptWeight: number;
  outputWeight: number;
  /** Sequences a minute and at once (waiting or running) of one tenant; 0 is no limit. A request of several takes a place for each. */
  ratePerMinute: number;
  burst: number;
  concurrency: number;
  /** A replica with so many prompt tokens still to compute is given no more; what prefers it waits in the queue. */
  backlogTokens: number;
  /** Share of all slots no single tenant may fill while others are to be expected. */
  headroom: number;
  /** Others are always to be expected (several keys are given out); otherwise when another was seen in the last `headroomMs`. */
  shared: boolean;
  headroomMs: number;
  /** A replica with work that is silent for so long has died. `startMs` is its first grace (a model may have to load). */
  leaseMs: number;
  startMs: number;
  /** A waiting request whose caller vanished keeps its place for so long. */
  attachMs: number;
  /** One that runs in a lane, and is not released for so long, has lost its caller. */
  laneMs: number;
  /** What a replica is taken to hold before it says so. */
  slots: number;
  kvTokens: number;
  placement: PlacementRule;
  lanes: Record<Lane, LaneRule>;
}

/** Work that takes no slot of a replica, but time of a thread that others share: it waits its turn in a lane of its own. */
export const LANES = ['tokenize', 'embed', 'simulate'] as const;
export type Lane = (typeof LANES)[number];

export interface LaneRule {
  /** Requests of all tenants at once. */
  atOnce: number;
  /** What a token of it costs its tenant, against a prompt token that a model computes. */
  weight: number;
}

export interface PlacementRule {
  kind: 'cache' | 'thresholds' | 'least-loaded' | 'round-robin' | 'random';
  /** What one prompt token that must be computed weighs against one token of backlog, where something runs. */
  uncachedWeight: number;
  /** Backlog, in tokens, that a running sequence stands for. */
  sequenceTokens: number;
}

export const POLICY: PolicyConfig = {
  maxQueue: 512,
  maxWaitMs: 60_000,
  agingMs: 20_000,
  promptWeight: 1,
  outputWeight: 2,
  ratePerMinute: 0,
  burst: 0,
  concurrency: 0,
  backlogTokens: 1_024,
  headroom: 0.25,
  shared: false,
  headroomMs: 600_000,
  leaseMs: 5_000,
  startMs: 60_000,
  attachMs: 30_000,
  laneMs: 120_000,
  slots: 16,
  kvTokens: 16_384,
  placement: { kind: 'cache', uncachedWeight: 3, sequenceTokens: 512 },
  lanes: {
    tokenize: { atOnce: 1, weight: 0.001 }, // on a replica's thread: one between two of its steps
    embed: { atOnce: 8, weight: 0.1 },
    simulate: { atOnce: 1, weight: 0.1 },
  },
};
