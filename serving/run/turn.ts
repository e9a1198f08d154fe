import { adaptedSalt, type GenerateRequest, type StepEvent } from '../../engine/index.ts';
import type { TokenStream } from '../../models/tokenizer/tokenizer.ts';
import { type ApiError, asApiError } from '../../openai/errors.ts';
import { itemMessages } from '../../openai/requests/items.ts';
import { resolveSampling } from '../../openai/requests/sampling.ts';
import { StopMatcher } from '../../openai/stop.ts';
import { chatLogprobs } from '../../openai/stream/frames.ts';
import { outputOf } from '../../openai/stream/response-events.ts';
import { type Piece, type RunLine, type RunOrder, type TurnRequest, textOf } from '../responses/types.ts';
import { fingerprintOf, type Held, withAdapter } from './adapters.ts';
import { checkIds, outputLimit, stopIdsOf } from './checks.ts';
import { constraintOf } from './constraint.ts';
import { Pace } from './latency.ts';
import { logprobsOf } from './logprobs.ts';
import type { Sink } from './loop.ts';
import type { RouteReport } from './npu.ts';
import { chatPrompt } from './prompt.ts';
import type { Runtime } from './runtime.ts';
import { keptBytes, pullPages, pushPages, type SessionFetcher } from './session-pages.ts';
import { saltOf } from './tenant.ts';
import { answerText } from './text.ts';

/**
 * Generates a session's turn, from its beginning or from where another replica stopped, as lines (RunLine). Nothing of the
 * past is trusted to memory: detokenizer, stop strings and constraint are fed the tokens that are there already, so the
 * rest is what an undisturbed run would have said. Throws ApiError before any page is taken.
 */
export async function runTurn(
  rt: Runtime,
  order: RunOrder,
  session: SessionFetcher,
  http: Request,
  later: (work: Promise<unknown>) => void,
): Promise<Response> {
  return withAdapter(rt, order.model, (adapter) => turnWith(rt, adapter, order, session, http, later));
}

async function turnWith(
  rt: Runtime,
  adapter: Held | undefined,
  order: RunOrder,
  session: SessionFetcher,
  http: Request,
  later: (work: Promise<unknown>) => void,
): Promise<Response> {
  const { served, engine, loop } = rt;
  const { request } = order;
  const messages = itemMessages([...order.history, ...order.input], request.instructions);
  const prompt =
    order.prompt.length > 0 ? order.prompt : chatPrompt(served, { ...request, messages }, { limit: engine.maxPrompt, param: 'input' });
  checkIds(served, request, []);
  const constraint = constraintOf(served, request)?.(prompt);
  const generate: GenerateRequest = {
    id: `${order.response}/0`,
    prompt,
    generated: order.generated,
    maxTokens: outputLimit(engine, request, prompt.length, 'input'),
    stopIds: stopIdsOf(served, request, constraint !== undefined),
    sampling: { ...resolveSampling(request.sampling, served.sampling, () => order.seed), seed: order.seed },
    salt: saltOf(order.tenant, request.cacheSalt),
    adapter: adapter?.id,
    owner: order.tenant,
    constraint,
  };
  const pageSalt = adaptedSalt(generate.salt, adapter?.id);
  const turn = new Turn(rt, order, request, generate, fingerprintOf(served, adapter));
  turn.end.then(() => adapter?.release());
  rt.reporter?.begin({ id: order.response, epoch: order.epoch, replica: order.replica }, () => turn.revoke(), true);
  rt.reporter?.prompt(order.response, prompt.length);
  turn.end.then(() => rt.reporter?.end(order.response));
  if (!turn.over)
    await pullPages(engine, session, [...prompt, ...order.generated], pageSalt).catch((error) => console.warn('pages', error));
  if (!turn.over && !adapter) turn.route = await rt.npu?.prefill([...prompt, ...order.generated], generate.salt, http.signal);
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => turn.open(controller),
    cancel: () => turn.cancel(),
  });
  if (!turn.over) loop.add(generate, turn);
  http.signal.addEventListener('abort', () => turn.cancel());
  // off the reader's path: what the session lacks
  later(turn.end.then(() => pushPages(engine, session, turn.ids, pageSalt, order.response)).catch((error) => console.warn('pages', error)));
  return new Response(body, { headers: { 'content-type': 'application/x-ndjson' } });
}

class Turn implements Sink {
  readonly #rt: Runtime;
  readonly #order: RunOrder;
  readonly #request: TurnRequest;
  readonly #fingerprint: string;
  readonly #generate: GenerateRequest;
  readonly #stream: TokenStream;
  readonly #stop: StopMatcher;
  readonly #encoder = new TextEncoder();
  readonly #generated: number[] = [];
  #text = '';
  readonly #arrived = Date.now();
  readonly #pace: Pace;
  #controller?: ReadableStreamDefaultController<Uint8Array>;
  #started = false;
  #lines = '';
  #ended!: () => void;
  /** Settles when nothing more comes. */
  readonly end = new Promise<void>((resolve) => {
    this.#ended = resolve;
  });
  over = false;
  #computeMs = 0;
  #cached = 0;
  /** Where the prompt was computed; known before the first token. */
  route?: RouteReport;

  constructor(rt: Runtime, order: RunOrder, request: TurnRequest, generate: GenerateRequest, fingerprint: string) {
    this.#rt = rt;
    this.#fingerprint = fingerprint;
    this.#pace = new Pace(rt.metrics, this.#arrived);
    this.#order = order;
    this.#request = request;
    this.#generate = generate;
    this.#stream = answerText(rt.served, generate.prompt, { chat: true, tools: request.toolChoice.mode !== 'none' });
    this.#stop = new StopMatcher(request.stop);
    for (const id of order.generated) {
      this.#generated.push(id);
      generate.constraint?.accept(id);
      this.#text += this.#stop.push(this.#stream.push(id));
    }
    // the replica before may have died between its last token and saying so
    this.over =
      this.#stop.stopped || order.generated.length >= Math.min(generate.maxTokens, rt.engine.maxPrompt + 1 - generate.prompt.length);
  }

  /** Prompt and output. */
  get ids(): number[] {
    return [...this.#generate.prompt, ...this.#generated];
  }

  open(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.#controller = controller;
    if (!this.over) return;
    this.#start(this.#generate.prompt.length);
    this.#finish(this.#stop.stopped ? 'stop' : 'length');
  }

  spent(ms: number): void {
    this.#computeMs += ms;
  }

  event(event: StepEvent): void {
    if (!this.#controller) return;
    this.#pace.observe(event, Date.now(), this.#generate.prompt.length + this.#order.generated.length);
    if (!this.#started) this.#start(event.cachedTokens ?? 0);
    const from = this.#generated.length;
    const ids: number[] = [];
    const text: Piece[] = [];
    for (const token of event.tokens) {
      const logprobs = logprobsOf(this.#rt.served.tokenizer, token);
      const said = this.#stop.push(this.#stream.push(token.id));
      ids.push(token.id);
      text.push(logprobs ? [said, chatLogprobs([logprobs])[0]] : said);
      if (this.#stop.stopped) break;
    }
    this.#generated.push(...ids);
    this.#text += text.map(textOf).join('');
    if (ids.length > 0) this.#line({ type: 'tokens', from, ids, text });
    if (this.#stop.stopped) {
      this.#rt.loop.abort(this.#generate.id);
      this.#finish('stop');
    } else if (event.finish) this.#finish(event.finish === 'length' ? 'length' : 'stop');
  }

  flush(): void {
    if (this.#lines === '') return;
    this.#controller?.enqueue(this.#encoder.encode(this.#lines));
    this.#lines = '';
  }

  fail(error: unknown): void {
    const shown: ApiError = asApiError(error);
    this.#line({ type: 'error', status: shown.status, error: shown.envelope().error });
    this.#close();
  }

  /** The scheduler gave the turn to another replica. */
  revoke(): void {
    this.#controller?.error(new Error('the lease is over'));
    this.cancel();
  }

  /** The session no longer listens: it was cancelled, or it is gone and will ask again. */
  cancel(): void {
    if (this.#controller) this.#rt.metrics.finished.add(1, { finished_reason: 'abort' });
    this.#controller = undefined;
    this.#rt.loop.abort(this.#generate.id);
    this.#ended();
  }

  #start(cachedTokens: number): void {
    this.#started = true;
    this.#cached = cachedTokens;
    const route = this.#request.explain && this.route ? { ...this.route, ttft: Date.now() - this.#arrived } : undefined;
    this.#line({
      type: 'start',
      prompt: [...this.#generate.prompt],
      cachedTokens,
      fingerprint: this.#fingerprint,
      route,
    });
  }

  #finish(finish: 'stop' | 'length'): void {
    const tail = this.#stop.stopped ? '' : this.#stop.push(this.#stream.flush()) + this.#stop.flush();
    const meta = { id: this.#order.response, model: this.#order.model, created: 0, echo: {} };
    const stopped = finish === 'stop' || this.#stop.stopped;
    const output = outputOf(meta, this.#text + tail, this.#request, stopped ? 'completed' : 'incomplete');
    this.#rt.metrics.finished.add(1, { finished_reason: stopped ? 'stop' : 'length' });
    this.#rt.metrics.e2e.observe((Date.now() - this.#arrived) / 1000);
    const ms = Date.now() - this.#arrived;
    const bytes = keptBytes(this.#rt.engine, this.ids.length - this.#cached);
    const billed = this.#rt.bill?.({ computeMs: this.#computeMs, openMs: ms, session: { ms, bytes } });
    const { timings } = this.#pace;
    const told = this.#request.explain ? { timings, ...(billed && { cost: billed }) } : {};
    this.#line({ type: 'end', finish: stopped ? 'stop' : 'length', tail, output, ...told });
    this.#close();
  }

  #line(line: RunLine): void {
    this.#lines += `${JSON.stringify(line)}\n`;
  }

  #close(): void {
    try {
      this.flush();
      this.#controller?.close();
    } finally {
      this.#controller = undefined;
      this.#ended();
    }
  }
}
