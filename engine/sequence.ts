import type { Adapter } from './backend.ts';
import { PAGE } from './layout.ts';
import { adaptedSalt } from './pages.ts';
import type { GenerateRequest } from './types.ts';

/** One request inside the engine: its tokens, how many of them have keys and values in pages, and which pages. */
export class Sequence {
  readonly request: GenerateRequest;
  readonly owner: string;
  readonly adapter?: Adapter;
  /** Of its pages' names. */
  readonly salt: string;
  /** Order of arrival. */
  readonly order: number;
  /** Prompt, then output. */
  readonly ids: number[];
  readonly promptLength: number;
  /** Tokens whose KV is in pages. The rest of `ids` is still to be computed. */
  computed = 0;
  /** Tokens after these that are in steps under way. */
  flying = 0;
  /** The last step that it rode in. */
  step = 0;
  readonly pages: number[] = [];
  /** Pages that all its windows have left: the first so many. */
  left = 0;
  /** Names of the whole pages computed so far and, for the prompt, of those to come. */
  readonly names: string[] = [];
  /** Tokens of the prompt after which the next one's log-probability was told. */
  scored = 0;
  published = 0; // whole pages already offered under their name
  cachedTokens = 0;
  reported = false; // whether cachedTokens went out with an event
  aborted = false;
  /** What was thrown on its behalf: it ends with it, the others ride on. */
  error?: unknown;
  /** Output tokens by id, for penalties. Only kept when a penalty wants it. */
  readonly counts?: Map<number, number>;
  readonly promptIds?: Set<number>;
  /** Moving share of drafted tokens that were accepted; none were drafted yet. */
  acceptance?: number;
  sinceDraft = 0;

  constructor(request: GenerateRequest, order: number, adapter?: Adapter) {
    this.request = request;
    this.adapter = adapter;
    this.salt = adaptedSalt(request.salt, request.adapter);
    this.owner = request.owner ?? request.salt;
    this.order = order;
    this.ids = [...request.prompt, ...(request.generated ?? [])];
    this.promptLength = request.prompt.length;
    const s = request.sampling;
    if (s.frequency !== 0 || s.presence !== 0 || s.repetition !== 1) {
      this.counts = new Map();
      for (const id of request.generated ?? []) this.counts.set(id, (this.counts.get(id) ?? 0) + 1);
    }
    if (s.repetition !== 1) this.promptIds = new Set(request.prompt);
  }

  get generated(): number {
    return this.ids.length - this.promptLength;
  }

  /** Where its next slice starts. */
  get next(): number {
    return this.computed + this.flying;
  }

  /** Tokens to put into a step before the next can be sampled: 1 in decode, more in prefill, none while it is under way. */
  get pending(): number {
    return this.ids.length - this.next;
  }

  /** Whether its prompt, or what it computes again, is not all there. */
  get prefills(): boolean {
    return this.ids.length - this.computed > 1;
  }

  /** Rows of its prompt's logits that are still to be told. */
  get unscored(): number {
    return this.request.promptLogprobs === undefined ? 0 : this.promptLength - 1 - this.scored;
  }

  /** Tokens whose pages may be those of others: not where the logits behind them are wanted, nor the last, whose logits always are. */
  get shareable(): number {
    return this.unscored > 0 ? this.scored : this.ids.length - 1;
  }

  /** Notes what was thrown for it; the first counts. */
  fail(error: unknown): void {
    this.error ??= error ?? new Error('nothing was thrown');
  }

  append(id: number): void {
    this.ids.push(id);
    this.counts?.set(id, (this.counts.get(id) ?? 0) + 1);
  }

  /** Pages that `tokens` tokens need. */
  static pagesFor(tokens: number): number {
    return Math.ceil(tokens / PAGE);
  }
}
