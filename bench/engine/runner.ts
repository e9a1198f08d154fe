/** Drives an engine by phases, so that each can be timed alone: prefill to the first token, then plain decode steps. No platform here. */
import { sha256 } from '@noble/hashes/sha2.js';
import {
  type Backend,
  type Constraint,
  Engine,
  formatsOf,
  type GenerateRequest,
  GREEDY,
  type KvFormat,
  type ModelConfig,
  type ModelWeights,
  type Plan,
  planMemory,
} from '../../engine/index.ts';

export interface RunnerModel {
  backend: Backend;
  config: ModelConfig;
  weights: ModelWeights;
  plan: Plan;
  digest: string;
}

/** A plan with room for every benchmark: `sequences` of `context` tokens. */
export function roomyPlan(
  config: ModelConfig,
  weights: Parameters<typeof formatsOf>[0],
  o: { context: number; sequences: number; kv?: KvFormat },
): Plan {
  return planMemory({
    config,
    formats: formatsOf(weights),
    kv: o.kv ?? 'i8',
    weightBytes: 0,
    memoryBytes: 8 * 2 ** 30,
    jsBytes: 0,
    measure: () => 0,
    context: o.context,
    maxSequences: o.sequences,
    pages: (o.sequences * o.context) / 16,
  });
}

/** Seeded token ids, away from the first ones, which are control tokens. */
export function randomIds(n: number, vocab: number, seed: number): number[] {
  let x = (seed * 0x9e3779b9) >>> 0 || 1;
  return Array.from({ length: n }, () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x = (x ^ (x << 5)) >>> 0;
    return 300 + (x % (vocab - 300));
  });
}

/** Allows everything and cannot be cloned: nothing is drafted ahead of it, so that a step is a token. */
const ONE_BY_ONE: Constraint = { mask: () => null, accept: () => {} };

export class Runner {
  readonly engine: Engine;
  private count = 0;
  private live: string[] = [];
  /** Tokens generated since the last `drop`, by request in order of start. */
  output = new Map<string, number[]>();

  private readonly speculate: boolean;

  constructor({ backend, config, weights, plan, digest }: RunnerModel, speculate = false) {
    this.speculate = speculate;
    const rowCost = speculate ? undefined : Number.POSITIVE_INFINITY;
    this.engine = new Engine({ backend, config, weights, plan, hash: sha256, pack: digest, rowCost });
  }

  /** Runs prompts until each has its first token. Returns how many prompt tokens came from the cache. */
  async prefill(prompts: readonly (readonly number[])[], maxTokens: number, stopIds: readonly number[] = []): Promise<number> {
    const waiting = new Set<string>();
    for (const prompt of prompts) {
      const request: GenerateRequest = {
        id: `r${this.count++}`,
        prompt,
        maxTokens,
        stopIds,
        sampling: GREEDY,
        salt: '',
        ...(!this.speculate && { constraint: ONE_BY_ONE }),
      };
      this.engine.add(request);
      waiting.add(request.id);
      this.live.push(request.id);
    }
    let cached = 0;
    while (waiting.size > 0) {
      for (const e of await this.step()) {
        waiting.delete(e.request);
        cached += e.cachedTokens ?? 0;
      }
    }
    return cached;
  }

  /** At most `steps` more steps, fewer when everything ends. Returns the tokens generated. */
  async decode(steps: number): Promise<number> {
    let tokens = 0;
    for (let i = 0; i < steps && this.engine.busy; i++) for (const e of await this.step()) tokens += e.tokens.length;
    return tokens;
  }

  /** Ends everything; pages stay cached. */
  drop(): number[][] {
    for (const id of this.live) this.engine.abort(id);
    this.live = [];
    const out = [...this.output.values()];
    this.output = new Map();
    return out;
  }

  private async step() {
    const events = await this.engine.step();
    for (const e of events) {
      if (e.error !== undefined) throw e.error;
      const got = this.output.get(e.request) ?? [];
      got.push(...e.tokens.map((t) => t.id));
      this.output.set(e.request, got);
    }
    return events;
  }
}
