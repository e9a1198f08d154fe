/** Where a request's tokens go: detokenized, up to a stop string or the last call that may be made, measured, and told by a writer. */
import type { FinishReason, GenerateRequest, ScoredToken, StepEvent } from '../../engine/index.ts';
import type { Tokenizer, TokenStream } from '../../models/tokenizer/tokenizer.ts';
import { ApiError, asApiError } from '../../openai/errors.ts';
import type { ServingMetrics } from '../../openai/prometheus.ts';
import type { TokenLogprobs } from '../../openai/stream/answer.ts';
import { SequenceClock, type Timings } from './latency.ts';
import { logprobsOf } from './logprobs.ts';
import type { EngineLoop, Sink } from './loop.ts';
import { isStream, Outlet } from './outlet.ts';

/** What is said of the sequences: the events of an answer (answer-writer.ts), or the lines of a turn (turn.ts). Each method gives the text to send. */
export interface Writer {
  readonly contentType: string;
  /** Before any token. */
  open(): string;
  /** A sequence's first token is there; of its prompt's tokens so many were found, not computed, and of those from the second on this was told, where it was asked for. */
  begin(index: number, cached: number, prompt: readonly ScoredToken[]): string;
  /** A token, and its text, which may be ''. */
  push(index: number, token: number, text: string, logprobs: TokenLogprobs | undefined): string;
  /** The tokens of a step have been pushed. */
  settle(): string;
  /** A stop string was found, or the only call that may be made is whole: no token after this one counts. */
  stopped(index: number): boolean;
  /** A sequence has ended. `rest`: half a character that the detokenizer held back. */
  finish(index: number, reason: FinishReason, rest: string): string;
  /** All have. */
  close(): string;
  /** They will not: the last that is said. */
  fail(error: ApiError): string;
}

export interface SinkOptions {
  loop: EngineLoop;
  tokenizer: Tokenizer;
  metrics: ServingMetrics;
  /** In order of their index. */
  requests: readonly GenerateRequest[];
  /** The text of a sequence's tokens. */
  textOf: (prompt: readonly number[]) => TokenStream;
  writer: Writer;
  arrived: number; // ms
  /** Sequences in the engine at once; the others start as these end. Undefined: all. */
  atOnce?: number;
}

interface Sequence {
  request: GenerateRequest;
  index: number;
  stream: TokenStream;
  clock: SequenceClock;
  prompt: ScoredToken[];
  done: boolean;
}

export class TokenSink implements Sink {
  readonly #o: SinkOptions;
  readonly #outlet: Outlet;
  readonly #sequences: Map<string, Sequence>;
  /** Not in the engine yet. */
  #waiting: GenerateRequest[] = [];
  #error?: ApiError;
  /** An isolate's computing for it, ms. */
  computeMs = 0;
  /** Tokens of the first sequence. */
  readonly output: number[] = [];
  #begin!: () => void;
  /** Settles with the first token. */
  readonly #begun = new Promise<void>((resolve) => {
    this.#begin = resolve;
  });
  #ended!: () => void;
  /** Settles when nothing more comes, whatever the reason. */
  readonly end = new Promise<void>((resolve) => {
    this.#ended = resolve;
  });

  constructor(o: SinkOptions) {
    this.#o = o;
    this.#outlet = new Outlet(o.writer.contentType, o.arrived, () => this.cancel());
    this.#sequences = new Map(
      o.requests.map((request, index) => [
        request.id,
        { request, index, stream: o.textOf(request.prompt), clock: new SequenceClock(o.metrics, o.arrived), prompt: [], done: false },
      ]),
    );
  }

  get over(): boolean {
    return this.#outlet.over;
  }

  /** When the first token of any sequence came, ms. */
  get firstToken(): number | undefined {
    const times = [...this.#sequences.values()].flatMap(({ clock }) => clock.first ?? []);
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  /** Of the first sequence. */
  get timings(): Timings | undefined {
    return [...this.#sequences.values()].at(0)?.clock.timings;
  }

  /** Starts as many sequences as may be computed at once or, when one of them is refused, none. */
  start(signal: AbortSignal): void {
    if (this.over) return;
    this.#outlet.write(this.#o.writer.open());
    this.#waiting = [...this.#o.requests];
    const first = this.#waiting.splice(0, this.#o.atOnce ?? this.#waiting.length);
    try {
      for (const request of first) this.#o.loop.add(request, this);
    } catch (error) {
      for (const { id } of first) this.#o.loop.abort(id);
      throw error;
    }
    signal.addEventListener('abort', () => this.cancel());
    if (signal.aborted) this.cancel();
  }

  /** Ends all sequences without computing: each has its last token already. */
  conclude(reason: FinishReason): void {
    for (const s of this.#sequences.values()) {
      this.#outlet.write(this.#o.writer.begin(s.index, s.request.prompt.length, []));
      this.#finish(s, reason);
    }
  }

  /**
   * The response: a stream at once, or one JSON object. From the first token on a JSON answer is a stream too, of spaces and then the
   * object: the runtime learns that a client is gone only when something is written.
   */
  async respond(): Promise<Response> {
    if (!isStream(this.#o.writer.contentType)) {
      await Promise.race([this.end, this.#begun]); // until then an error has a status of its own
      if (this.#error) throw this.#error;
    }
    return this.#outlet.response();
  }

  spent(ms: number): void {
    this.computeMs += ms;
  }

  event(event: StepEvent): void {
    const s = this.#sequences.get(event.request);
    if (!s || s.done) return;
    const { writer, loop, tokenizer } = this.#o;
    try {
      s.clock.observe(event, Date.now(), s.request.prompt.length + (s.request.generated?.length ?? 0));
      s.prompt.push(...(event.prompt ?? []));
      let out = '';
      if (event.cachedTokens !== undefined) {
        this.#begin();
        this.#outlet.begin();
        out += writer.begin(s.index, event.cachedTokens, s.prompt);
        s.prompt = [];
      }
      for (const t of event.tokens) {
        if (s.index === 0) this.output.push(t.id);
        out += writer.push(s.index, t.id, s.stream.push(t.id), logprobsOf(tokenizer, t));
        if (writer.stopped(s.index)) break;
      }
      this.#outlet.write(out + writer.settle());
      if (writer.stopped(s.index)) {
        loop.abort(event.request);
        this.#finish(s, 'stop');
      } else if (event.finish) this.#finish(s, event.finish, s.stream.flush());
    } catch (error) {
      this.fail(error);
    }
  }

  flush(crowd?: number): void {
    this.#outlet.flush(crowd);
  }

  fail(error: unknown): void {
    if (this.#error) return;
    this.#error = asApiError(error);
    if (!(error instanceof ApiError)) console.error('request failed', error);
    this.#abortAll();
    // an object that has begun with 200 cannot become an error: it ends without one
    if (!isStream(this.#o.writer.contentType) && this.#outlet.isOpen) this.breakOff(this.#error);
    else {
      this.#outlet.write(this.#o.writer.fail(this.#error));
      this.#close();
    }
  }

  /** Ends it without its end, and says so to nobody but the connection. */
  breakOff(why: Error): void {
    this.#outlet.breakOff(why);
    this.cancel();
  }

  /** The reader is gone: frees everything within a step. */
  cancel(): void {
    this.#outlet.breakOff();
    this.#abortAll();
    this.#ended();
  }

  #finish(s: Sequence, reason: FinishReason, rest = ''): void {
    const { writer, metrics, arrived, loop } = this.#o;
    s.done = true;
    const next = this.#waiting.shift();
    if (next) loop.add(next, this);
    metrics.finished.add(1, { finished_reason: reason });
    this.#outlet.write(writer.finish(s.index, reason, rest));
    if (![...this.#sequences.values()].every((x) => x.done)) return;
    metrics.e2e.observe((Date.now() - arrived) / 1000);
    this.#outlet.write(writer.close());
    this.#close();
  }

  #close(): void {
    if (this.over) return;
    try {
      this.#outlet.close();
    } finally {
      this.#ended();
    }
  }

  #abortAll(): void {
    this.#waiting = [];
    for (const s of this.#sequences.values()) {
      if (s.done) continue;
      s.done = true;
      this.#o.loop.abort(s.request.id);
      this.#o.metrics.finished.add(1, { finished_reason: 'abort' });
    }
  }
}
