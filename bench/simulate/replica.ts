import { createHash } from 'node:crypto';
import { PageNames, PagePool } from '../../engine/pages.ts';
import type { Heartbeat, Progress } from '../../policy/ticket.ts';
import { BLOCK_TOKENS, type TraceRequest } from './traces.ts';

/** How fast a replica is. A step takes `step` + `prefill` · prompt tokens + `decode` · sequences that decode. */
export interface Speed {
  step: number; // ms
  prefill: number; // ms a token
  decode: number; // ms a sequence
  /** Tokens a step may take. */
  budget: number;
}

interface Running {
  id: string;
  epoch: number;
  request: TraceRequest;
  names: string[];
  pages: number[];
  cached: number; // tokens
  computed: number; // prompt tokens
  output: number;
}

export interface Finished extends Progress {
  request: TraceRequest;
}

export interface Step {
  /** When the step ends, ms. */
  end: number;
  first: string[];
  finished: Finished[];
}

const hash = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest());
const names = new PageNames(hash, { pack: 'simulation', kv: 'i8', numerics: 'exact-1' });

/**
 * A replica in time: the engine's own page pool and page names hold its prefix tree (a page stands for a block of 512
 * tokens), and steps take what `Speed` says. Decodes ride in every step, prefill chunks share the rest of the budget in
 * order of arrival, as in the engine.
 */
export class SimReplica {
  readonly id: string;
  readonly pool: PagePool;
  readonly speed: Speed;
  readonly slots: number;
  readonly kvTokens: number;
  readonly running: Running[] = [];
  hit = 0;
  asked = 0;
  busyMs = 0;

  constructor(id: string, kvTokens: number, slots: number, speed: Speed) {
    this.id = id;
    this.kvTokens = kvTokens;
    this.slots = slots;
    this.speed = speed;
    this.pool = new PagePool(Math.floor(kvTokens / BLOCK_TOKENS));
  }

  /** Takes a request with its lease; finds what of its prompt is here. */
  add(id: string, epoch: number, request: TraceRequest): void {
    const chain = namesOf(request);
    const pages: number[] = [];
    let cached = 0;
    for (const name of chain) {
      // the last token is always computed: its logits are wanted
      if (cached + BLOCK_TOKENS >= request.prompt) break;
      const page = this.pool.take(name);
      if (page === undefined) break;
      pages.push(page);
      cached += BLOCK_TOKENS;
    }
    this.hit += cached;
    this.asked += request.prompt;
    this.running.push({ id, epoch, request, names: chain, pages, cached, computed: cached, output: 0 });
  }

  /** One step from `now`, or undefined when there is nothing to do. */
  step(now: number): Step | undefined {
    if (this.running.length === 0) return undefined;
    const decodes = this.running.filter((r) => r.computed >= r.request.prompt);
    let room = Math.max(0, this.speed.budget - decodes.length);
    let prefilled = 0;
    const reached: Running[] = [];
    for (const r of this.running) {
      if (room === 0) break;
      if (r.computed >= r.request.prompt) continue;
      const count = Math.min(room, r.request.prompt - r.computed);
      r.computed += count;
      room -= count;
      prefilled += count;
      this.#publish(r);
      if (r.computed === r.request.prompt) reached.push(r);
    }
    const ms = this.speed.step + this.speed.prefill * prefilled + this.speed.decode * decodes.length;
    this.busyMs += ms;
    for (const r of [...decodes, ...reached]) r.output++;
    const finished = this.running.filter((r) => r.output >= r.request.output);
    for (const r of finished) {
      this.pool.releaseAll(r.pages);
      this.running.splice(this.running.indexOf(r), 1);
    }
    return {
      end: now + ms,
      first: reached.map((r) => r.id),
      finished: finished.map((r) => ({ ...progress(r), request: r.request })),
    };
  }

  heartbeat(): Heartbeat {
    return { incarnation: 'simulated', slots: this.slots, kvTokens: this.kvTokens, running: this.running.map(progress), done: [] };
  }

  /** Blocks that became whole get a page and their name; without a free page they are computed and not kept. */
  #publish(r: Running): void {
    for (let b = r.pages.length; b < r.names.length && (b + 1) * BLOCK_TOKENS <= r.computed; b++) {
      const page = this.pool.alloc();
      if (page === undefined) return;
      this.pool.publish(page, r.names[b]!);
      r.pages.push(page);
    }
  }
}

const progress = (r: Running): Progress => ({
  id: r.id,
  epoch: r.epoch,
  output: r.output,
  promptTokens: r.request.prompt,
  cachedTokens: r.cached,
  computed: r.computed,
});

const memo = new WeakMap<TraceRequest, string[]>();
const byParent = new Map<string, string>();

/** The engine's names of a prompt's blocks: SHA-256 chains over ids that stand for the block. */
function namesOf(r: TraceRequest): string[] {
  const known = memo.get(r);
  if (known) return known;
  const chain: string[] = [];
  let parent = names.root(r.tenant);
  for (const block of r.blocks) {
    const key = `${parent}${block}`;
    let name = byParent.get(key);
    if (name === undefined) {
      name = names.next(parent, new Array<number>(16).fill(block), 0);
      byParent.set(key, name);
    }
    chain.push(name);
    parent = name;
  }
  memo.set(r, chain);
  return chain;
}
