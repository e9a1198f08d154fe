/**
 * A model in stages in time: the real engine, its scheduler, its speculation and its runner over stages, on stages that only say how long they
 * would compute and how long a call to them is on its way. The tokens are made up so that a drafted one is accepted with a given chance.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import type { Part } from '../../engine/anatomy.ts';
import { SUM_BLOCK } from '../../engine/backend.ts';
import { concat } from '../../engine/bytes.ts';
import type { ModelConfig } from '../../engine/config.ts';
import { Engine, GREEDY, type Plan } from '../../engine/index.ts';
import type { Best } from '../../engine/runner.ts';
import type { StagePort, StageSlice } from '../../engine/stage.ts';
import { StagedRunner } from '../../engine/staged.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { VirtualClock } from './clock.ts';
import { Cores } from './cores.ts';

/**
 * What one isolate takes, ms: layers as `layers` has it of some numbers of tokens, ascending, the first of them 1, or `step` + `token` · tokens of a call; the head `headStep` +
 * `row` · rows. The first parts read the weights.
 */
export interface StepCost {
  layers?: readonly (readonly [tokens: number, ms: number])[];
  step: number;
  token: number;
  headStep: number;
  row: number;
}

export interface StagedSetup {
  /** Isolates, as large as each other; the replica's own is the first. 1: the model in one piece. */
  stages: number;
  /** A call to another isolate and back, ms. */
  hop: number;
  streams: number;
  speculate: boolean;
  /** Chance that the next token is the one that follows in the text before. */
  repeats: number;
  cost: StepCost;
  /** Of the one machine on which all of them are; each has one of its own unless given. */
  cores?: number;
  prompt?: number;
  output?: number;
}

export interface StagedResult {
  /** Generated tokens a second of all streams, from when all have begun until the first ends. */
  rate: number;
  /** ms until the first token of the first stream. */
  first: number;
  /** Of drafted tokens. */
  accepted: number;
}

/** Tokens of a text before it repeats itself. */
const PERIOD = 8;
const MOST_STREAMS = 64;
/** More than the texts have: a head is cut at whole blocks alone, and there are 8 stages at the most. */
const VOCAB = Math.max(PERIOD * MOST_STREAMS, 8 * SUM_BLOCK);
const HIDDEN = 8;
/** Tokens a step at the most (cli/stages.ts), and what the replica's loop asks for: alone, for each stage; with others. */
const STEP_TOKENS = 256;
const ALONE = { one: 32, stage: 96 };
const WITH_OTHERS = 128;

const configOf = (layers: number): ModelConfig => ({
  ...{ family: 'llama', vocab: VOCAB, hidden: HIDDEN, layers, heads: 1, kvHeads: 1, headDim: 8, ffn: 8, context: 4096, normEps: 1e-5 },
  ...{ ropeTheta: 10000, tied: true, qkvBias: false, qkNorm: false },
});

/** Runs `streams` requests that all come at once. */
export async function simulateStaged(o: StagedSetup): Promise<StagedResult> {
  const { stages, hop, streams, cost, prompt = 4 * PERIOD, output = 64 } = o;
  const clock = new VirtualClock();
  const config = configOf(stages);
  const rows = (i: number): readonly [number, number] => [bound(i, stages), bound(i + 1, stages)];
  const machine = { clock, cores: new Cores(clock, o.cores ?? stages) };
  const ports: SimulatedStage[] = [];
  for (let i = 0; i < stages; i++) {
    const part = { layers: [i, i + 1], embed: rows(i), head: rows(i) } as const;
    ports.push(new SimulatedStage(machine, ports[0], part, i === 0 ? 0 : hop, cost, o));
  }
  const plan: Plan = {
    ...{ context: 4096, maxTokens: STEP_TOKENS, maxSequences: MOST_STREAMS, maxRows: MOST_STREAMS, maxBlocks: 256, kv: 'f32' },
    ...{ pages: 4096, bytes: { limit: 0, js: 0, weights: 0, scratch: 0, kv: 0 } },
  };
  const backend = createReference();
  const runner = new StagedRunner({
    backend,
    config,
    stages: ports,
    kv: plan.kv,
    pages: plan.pages,
    maxRows: plan.maxRows,
    cores: o.cores,
  });
  const rowCost = o.speculate ? rowCostOf(o) : Number.POSITIVE_INFINITY;
  const engine = new Engine({ backend, config, weights: runner, plan, hash: sha256, pack: 'simulated', rowCost });
  for (let s = 0; s < streams; s++) {
    const ids = Array.from({ length: prompt }, (_, i) => s * PERIOD + (i % PERIOD));
    engine.add({ id: String(s), prompt: ids, maxTokens: output, stopIds: [], sampling: GREEDY, salt: String(s) });
  }
  const begun = new Set<string>();
  let [tokens, first, from, to, counted] = [0, 0, 0, 0, 0];
  await clock.run(
    (async () => {
      while (engine.busy) {
        const alone = stages === 1 ? ALONE.one : ALONE.stage * stages;
        const before = clock.now;
        const events = await engine.step(engine.alone ? alone : WITH_OTHERS);
        const { rows, prefill } = engine.lastStep;
        if (!prefill) engine.measured(clock.now - before, [rows]);
        for (const e of events) {
          if (e.error) throw e.error;
          if (e.tokens.length > 0 && begun.size === 0) first = clock.now;
          if (e.tokens.length > 0) begun.add(e.request);
        }
        const all = from > 0;
        if (begun.size === streams && !all) from = clock.now;
        if (all && to === 0) {
          counted += events.reduce((n, e) => n + e.tokens.length, 0);
          if (events.some((e) => e.finish)) to = clock.now;
        }
        tokens += events.reduce((n, e) => n + e.tokens.length, 0);
      }
    })(),
  );
  if (tokens !== streams * output) throw new Error(`${tokens} tokens were generated, wanted ${streams * output}`);
  const { proposed, accepted } = engine.stats().draft;
  return { rate: (1000 * counted) / (to - from), first, accepted: proposed > 0 ? accepted / proposed : 0 };
}

/** What one more row adds to a decode step of one sequence, in steps: hops are shared, so that it is less with them. */
export function rowCostOf({ stages, hop, cost }: Pick<StagedSetup, 'stages' | 'hop' | 'cost'>): number {
  const row = layersOf(cost, 2) - layersOf(cost, 1) + cost.row / stages;
  return row / (layersOf(cost, 1) + (cost.headStep + cost.row) / stages + hopsOf(stages) * hop);
}

/** Calls that a decode step waits for one after the other: layers elsewhere, the head's parts at once, which bring the next row of the embedding along. */
export const hopsOf = (stages: number): number => (stages === 1 ? 0 : stages);

/** ms of all layers: between two numbers of tokens, and beyond the last, along the line through both. */
function layersOf({ layers, step, token }: StepCost, tokens: number): number {
  if (!layers) return step + token * tokens;
  const above = layers.findIndex(([n]) => n >= tokens);
  const i = above < 0 ? layers.length - 1 : Math.max(1, above);
  const [[n, ms], [more, most]] = [layers[i - 1], layers[i]];
  return ms + ((most - ms) * (tokens - n)) / (more - n);
}

const bound = (i: number, stages: number): number => Math.floor((VOCAB * i) / stages / SUM_BLOCK) * SUM_BLOCK;

/** A part of a model that is busy as long as it would compute. The residual stream carries each token's id and position. */
class SimulatedStage implements StagePort {
  readonly part: Part;
  private readonly clock: VirtualClock;
  private readonly cores: Cores;
  private readonly hop: number;
  private readonly cost: StepCost;
  private readonly share: number;
  private readonly repeats: number;
  /** What it has to compute, one call after the other. */
  private busy: Promise<unknown> = Promise.resolve();
  /** The stage in whose isolate whoever asks is: its answers are heard when that one has computed. */
  private readonly asker: SimulatedStage;

  constructor(
    machine: { clock: VirtualClock; cores: Cores },
    asker: SimulatedStage | undefined,
    part: Part,
    hop: number,
    cost: StepCost,
    o: Pick<StagedSetup, 'stages' | 'repeats'>,
  ) {
    this.clock = machine.clock;
    this.cores = machine.cores;
    this.asker = asker ?? this;
    this.part = part;
    this.hop = hop;
    this.cost = cost;
    this.share = 1 / o.stages;
    this.repeats = o.repeats;
  }

  async open(): Promise<void> {}

  async embed(ids: Uint32Array): Promise<Uint8Array> {
    await this.computed(0);
    const [base] = this.part.embed ?? [0];
    const x = new Float32Array(ids.length * HIDDEN);
    ids.forEach((id, t) => {
      x[t * HIDDEN] = base + id;
    });
    return new Uint8Array(x.buffer);
  }

  async through(slices: readonly StageSlice[], x: Uint8Array): Promise<Uint8Array> {
    const out = new Float32Array(x.slice().buffer);
    let t = 0;
    for (const { start, count } of slices) for (let i = 0; i < count; i++) out[t++ * HIDDEN + 1] = start + i;
    await this.computed(this.share * layersOf(this.cost, t));
    return new Uint8Array(out.buffer);
  }

  async head(x: Uint8Array, best?: Best): Promise<Uint8Array> {
    const [from, to] = this.part.head ?? [0, 0];
    const stream = new Float32Array(x.slice().buffer);
    const R = stream.length / HIDDEN;
    const logits = new Float32Array(R * (to - from));
    const top = new Uint32Array(R * 4).fill(0xffffffff); // greedy: the best id, its value, statistics
    const values = new Float32Array(top.buffer);
    for (let r = 0; r < R; r++) {
      const next = nextToken(stream[r * HIDDEN], stream[r * HIDDEN + 1], this.repeats);
      const here = next >= from && next < to;
      if (here) logits[r * (to - from) + next - from] = 1;
      top[r * 4] = here ? next - from : 0;
      values.fill(here ? 1 : 0, r * 4 + 1, r * 4 + 3);
    }
    await this.computed(this.share * (this.cost.headStep + this.cost.row * R));
    if (!best) return new Uint8Array(logits.buffer);
    const embedding = new Float32Array(R * HIDDEN);
    for (let r = 0; r < R; r++) embedding[r * HIDDEN] = from + top[r * 4];
    return concat([new Uint8Array(top.buffer), new Uint8Array(embedding.buffer)]);
  }

  async readPage(): Promise<Uint8Array> {
    throw new Error('nothing is stored in the simulation');
  }

  writePage = this.readPage as never;

  /** Half a hop, the wait for what came before, the work, half a hop, and the wait for whoever asks. */
  private async computed(ms: number): Promise<void> {
    await this.clock.until(this.clock.now + this.hop / 2);
    this.busy = this.busy.then(() => this.cores.compute(ms));
    await this.busy;
    await this.clock.until(this.clock.now + this.hop / 2);
    await this.asker.busy;
  }
}

/** What follows a token at a position: the next one of its text, or now and then another place in it. */
function nextToken(id: number, position: number, repeats: number): number {
  const text = Math.floor(id / PERIOD) * PERIOD;
  const chance = hash(id, position);
  return text + ((id - text + (chance < repeats ? 1 : 2 + Math.floor(hash(position, id) * (PERIOD - 2)))) % PERIOD);
}

/** 0..1 of two integers. */
function hash(a: number, b: number): number {
  let x = (Math.imul(a + 1, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca6b)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
}
