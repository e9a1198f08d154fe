import type { FinishReason, GenerateRequest, StepEvent } from '../../engine/index.ts';
import type { Tokenizer, TokenStream } from '../../models/tokenizer/tokenizer.ts';
import { ApiError, asApiError } from '../../openai/errors.ts';
import type { ServingMetrics } from '../../openai/prometheus.ts';
import type { Answer } from '../../openai/stream/answer.ts';
import { HEARTBEAT_MS, UNCOMPRESSED } from './heartbeats.ts';
import { Pace, type Timings } from './latency.ts';
import { logprobsOf } from './logprobs.ts';
import type { EngineLoop, Sink } from './loop.ts';

/** A reader this far behind is given up: its answer is aborted. */
const MAX_BEHIND = 1 << 20; // bytes
/** And one that leaves more than this untaken for so long: nobody may be there any more. */
const BUFFER = 65_536; // bytes
const STALLED_MS = 30_000;
/** After its first text a stream is written to this often at most, and all streams together once a ms: in a crowd writes cost as much as tokens. */
const COALESCE_MS = 20;
const CROWD_MS = 80; // never later than this

/** One sequence of a job: a prompt and which choice it is. */
interface Choice {
  request: GenerateRequest;
  index: number;
  stream: TokenStream;
  pace: Pace;
  done: boolean;
}

export interface JobOptions {
  loop: EngineLoop;
  tokenizer: Tokenizer;
  /** The text of an answer's tokens. */
  textOf: (prompt: readonly number[]) => TokenStream;
  metrics: ServingMetrics;
  answer: Answer;
  /** In order of choice index. */
  requests: GenerateRequest[];
  /** Choices a prompt: of each prompt's, the first one's cached tokens count. */
  n: number;
  /** Text that comes before each choice (completions with `echo`). */
  echo?: (index: number) => string;
  /** Tokens of all prompts, each counted once. */
  promptTokens: number;
  arrived: number; // ms
  /** Prompt tokens found before an accelerator added pages; undefined: what the engine found is what there was. */
  cachedTokens?: number;
  /** Sequences in the engine at once; the others start as these end. Undefined: all. */
  atOnce?: number;
  /** Added to the last object of the answer. */
  extra?: () => Record<string, unknown> | undefined;
}

/** One HTTP request inside the replica: its sequences, their text, and the bytes of the answer. */
export class Job implements Sink {
  private readonly o: JobOptions;
  private readonly choices = new Map<string, Choice>();
  /** Not in the engine yet. */
  private waiting: GenerateRequest[] = [];
  private readonly encoder = new TextEncoder();
  private controller?: ReadableStreamDefaultController<Uint8Array>;
  private pending = ''; // not sent yet
  private lastSent: number;
  private sent = 0; // bytes
  private taken = { bytes: -1, at: 0 }; // of these, as far as is known, and when that last grew
  private flowing = false; // text has been sent
  private over = false;
  private readonly sse: boolean;
  private error?: ApiError;
  private usage = { prompt: 0, completion: 0, cached: 0 };
  /** When the first token came, ms. */
  firstToken?: number;
  /** An isolate's computing for it, ms. */
  computeMs = 0;
  /** Tokens of the first choice. */
  readonly output: number[] = [];
  private begin!: () => void;
  /** Settles with the first token. */
  private readonly begun = new Promise<void>((resolve) => {
    this.begin = resolve;
  });
  private ended!: () => void;
  /** Settles when the last choice has ended, whatever the reason. */
  readonly end = new Promise<void>((resolve) => {
    this.ended = resolve;
  });

  constructor(o: JobOptions) {
    this.o = o;
    this.usage.prompt = o.promptTokens;
    this.lastSent = o.arrived;
    this.sse = o.answer.contentType.startsWith('text/event-stream');
    o.requests.forEach((request, index) => {
      this.choices.set(request.id, {
        request,
        index,
        stream: o.textOf(request.prompt),
        pace: new Pace(o.metrics, o.arrived),
        done: false,
      });
    });
  }

  /** Of the first choice. */
  get timings(): Timings | undefined {
    return [...this.choices.values()].at(0)?.pace.timings;
  }

  /** Starts as many sequences as may be computed at once or, when one of them is refused, none. */
  start(signal: AbortSignal): void {
    this.waiting = [...this.choices.values()].map((c) => c.request);
    const first = this.waiting.splice(0, this.o.atOnce ?? this.waiting.length);
    try {
      for (const request of first) this.o.loop.add(request, this);
    } catch (error) {
      for (const { id } of first) this.o.loop.abort(id);
      throw error;
    }
    signal.addEventListener('abort', () => this.cancel());
    if (signal.aborted) this.cancel();
  }

  /**
   * The response: a stream at once, or one JSON object. From the first token on a JSON answer is a stream too, of spaces and then the
   * object: the runtime learns that a client is gone only when something is written.
   */
  async respond(): Promise<Response> {
    this.pending = this.o.answer.open() + this.echoes();
    if (!this.sse) await Promise.race([this.end, this.begun]); // until then an error has a status of its own
    if (this.error && !this.sse) throw this.error;
    const headers = { 'content-type': this.o.answer.contentType, 'cache-control': 'no-store' };
    if (this.over) return new Response(this.pending, { headers });
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller;
          this.flush();
        },
        cancel: () => this.cancel(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: BUFFER }),
    );
    return new Response(body, { headers: this.sse ? headers : { ...headers, ...UNCOMPRESSED } });
  }

  spent(ms: number): void {
    this.computeMs += ms;
  }

  event(event: StepEvent): void {
    const c = this.choices.get(event.request);
    if (!c || c.done) return;
    const now = Date.now();
    if (event.cachedTokens !== undefined) {
      this.firstToken ??= now;
      this.begin();
      if (c.index % this.o.n === 0) this.usage.cached += Math.min(event.cachedTokens, this.o.cachedTokens ?? event.cachedTokens);
    }
    c.pace.observe(event, now, c.request.prompt.length);
    try {
      let out = '';
      for (const t of event.tokens) {
        this.usage.completion++;
        if (c.index === 0) this.output.push(t.id);
        const logprobs = logprobsOf(this.o.tokenizer, t);
        out += this.o.answer.push(c.index, c.stream.push(t.id), logprobs && [logprobs]);
        if (this.o.answer.stopped(c.index)) break;
      }
      if (this.o.answer.stopped(c.index)) {
        this.o.loop.abort(event.request);
        out += this.finish(c, 'stop');
      } else if (event.finish) {
        out += this.o.answer.push(c.index, c.stream.flush());
        out += this.finish(c, this.o.answer.stopped(c.index) ? 'stop' : event.finish);
      }
      this.pending += out;
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    if (this.error) return;
    this.error = asApiError(error);
    if (!(error instanceof ApiError)) console.error('request failed', error);
    try {
      this.abortAll();
      if (!this.sse && this.controller) this.breakOff(this.error);
      else this.pending += this.o.answer.fail(this.error);
    } finally {
      this.close();
    }
  }

  /** An object that has begun with 200 cannot become an error: it ends without one, which no client takes for an answer. */
  private breakOff(error: ApiError): void {
    this.controller?.error(error);
    this.controller = undefined;
    this.over = true;
    this.ended();
  }

  /** The client is gone: frees everything within a step. */
  cancel(): void {
    this.controller = undefined;
    this.over = true;
    this.abortAll();
    this.ended();
  }

  private finish(c: Choice, reason: FinishReason): string {
    c.done = true;
    const next = this.waiting.shift();
    if (next) this.o.loop.add(next, this);
    this.o.metrics.finished.add(1, { finished_reason: reason });
    let out = this.o.answer.finish(c.index, reason);
    if ([...this.choices.values()].every((x) => x.done)) {
      this.o.metrics.e2e.observe((Date.now() - this.o.arrived) / 1000);
      out += this.o.answer.close(this.usage, this.o.extra?.(), Math.floor(Date.now() / 1000));
      queueMicrotask(() => this.close()); // after this event's text
    }
    return out;
  }

  flush(crowd = 1): void {
    const { controller } = this;
    if (!controller) return;
    const now = Date.now();
    let text = '';
    if (this.sse && !this.over && this.flowing && now - this.lastSent < Math.max(COALESCE_MS, Math.min(CROWD_MS, crowd))) return;
    if (this.sse || this.over) {
      text = this.pending;
      this.pending = '';
    }
    if (text === '') {
      if (now - this.lastSent < HEARTBEAT_MS) return;
      text = this.sse ? ': wait\n\n' : ' ';
    }
    this.lastSent = now;
    this.flowing ||= this.usage.completion > 0;
    const bytes = this.encoder.encode(text);
    controller.enqueue(bytes);
    this.sent += bytes.byteLength;
    if (this.lost(BUFFER - (controller.desiredSize ?? 0), now)) {
      controller.error(new Error('the reader is too slow'));
      this.cancel();
    }
  }

  /** Whether the reader, who has not taken so many bytes, is to be given up. */
  private lost(behind: number, now: number): boolean {
    const bytes = this.sent - behind;
    if (behind <= BUFFER || bytes > this.taken.bytes) this.taken = { bytes, at: now };
    return behind > BUFFER + MAX_BEHIND || now - this.taken.at > STALLED_MS;
  }

  /** Everything is said. */
  private close(): void {
    if (this.over) return;
    this.over = true;
    try {
      this.flush();
      this.controller?.close();
    } finally {
      this.controller = undefined;
      this.ended();
    }
  }

  private abortAll(): void {
    this.waiting = [];
    for (const c of this.choices.values()) {
      if (c.done) continue;
      c.done = true;
      this.o.loop.abort(c.request.id);
      this.o.metrics.finished.add(1, { finished_reason: 'abort' });
    }
  }

  private echoes(): string {
    const { echo, answer } = this.o;
    return echo ? this.o.requests.map((_, i) => answer.echo(i, echo(i))).join('') : '';
  }
}
