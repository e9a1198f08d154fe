import { adaptedSalt, type FinishReason, type GenerateRequest } from '../../engine/index.ts';
import type { TokenStream } from '../../models/tokenizer/tokenizer.ts';
import type { ApiError } from '../../openai/errors.ts';
import { itemMessages } from '../../openai/requests/items.ts';
import { resolveSampling } from '../../openai/requests/sampling.ts';
import type { TokenLogprobs } from '../../openai/stream/answer.ts';
import { type Choice, choiceOf } from '../../openai/stream/choice.ts';
import { chatLogprobs } from '../../openai/stream/frames.ts';
import { outputOf } from '../../openai/stream/response-events.ts';
import type { Piece, RunLine, RunOrder } from '../responses/types.ts';
import { watchGeneration } from '../trace/generation.ts';
import type { Held } from './adapters.ts';
import { checkIds, outputLimit, stopIdsOf } from './checks.ts';
import { demandOf } from './constraint.ts';
import type { RouteReport } from './npu.ts';
import { chatPrompt } from './prompt.ts';
import type { Runtime } from './runtime.ts';
import { keptBytes, pullPages, pushPages, type SessionFetcher } from './session-pages.ts';
import { saltOf } from './tenant.ts';
import { answerText } from './text.ts';
import { TokenSink, type Writer } from './token-sink.ts';
import { fingerprintOf, withAdapter } from './with-adapter.ts';

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
  const { constraint, notEnforced: loose } = demandOf(served, request);
  const generate: GenerateRequest = {
    id: `${order.response}/0`,
    prompt,
    generated: order.generated,
    maxTokens: outputLimit(engine, request, prompt.length, 'input'),
    stopIds: stopIdsOf(served, request),
    sampling: { ...resolveSampling(request.sampling, served.sampling, () => order.seed), seed: order.seed },
    salt: saltOf(order.tenant, request.cacheSalt),
    adapter: adapter?.id,
    owner: order.tenant,
    constraint: constraint?.(prompt),
  };
  const pageSalt = adaptedSalt(generate.salt, adapter?.id);
  const arrived = Date.now();
  const writer: TurnWriter = new TurnWriter(rt, order, generate, fingerprintOf(served, adapter), () => told());
  const sink = new TokenSink({
    ...{ loop, tokenizer: served.tokenizer, metrics: rt.metrics, requests: [generate], textOf: () => writer.stream, writer, arrived },
  });
  const told = (): Told => {
    const { computeMs, timings } = sink;
    const ms = Date.now() - arrived;
    const cost = rt.bill?.({ computeMs, openMs: ms, session: { ms, bytes: keptBytes(engine, writer.computed) } });
    return { ...(request.explain && { timings, ...(cost && { cost }) }), ...(loose.length > 0 && { notEnforced: loose }) };
  };
  const traced = watchGeneration(rt, http.headers.get('traceparent'), arrived);
  if (traced) void sink.end.then(() => traced({ timings: sink.timings, input: prompt.length, output: writer.ids.length - prompt.length }));
  sink.end.then(() => adapter?.release());
  const lease = { id: order.response, epoch: order.epoch, replica: order.replica, tenant: order.tenant };
  rt.reporter?.begin(lease, () => sink.breakOff(new Error('the lease is over')), true);
  rt.reporter?.prompt(order.response, prompt.length);
  sink.end.then(() => rt.reporter?.end(lease));
  // the replica before may have died between its last token and saying so
  const ended = writer.ended(engine.maxPrompt + 1);
  if (ended) sink.conclude(ended);
  else {
    await pullPages(engine, session, [...prompt, ...order.generated], pageSalt).catch((error) => console.warn('pages', error));
    if (!sink.over && !adapter) writer.route = await rt.npu?.prefill([...prompt, ...order.generated], generate.salt, http.signal);
    sink.start(http.signal);
  }
  // off the reader's path: what the session lacks
  later(
    sink.end.then(() => pushPages(engine, session, writer.ids, pageSalt, order.response)).catch((error) => console.warn('pages', error)),
  );
  return sink.respond();
}

/** What a request with `explain` is told at its end. */
type Told = Pick<RunLine & { type: 'end' }, 'timings' | 'cost' | 'notEnforced'>;

/** A turn's lines, from where it was begun. */
class TurnWriter implements Writer {
  readonly contentType = 'application/x-ndjson';
  readonly #order: RunOrder;
  readonly #generate: GenerateRequest;
  readonly #fingerprint: string;
  readonly #told: () => Told;
  readonly #arrived = Date.now();
  readonly #choice: Choice;
  /** The tokens that are there already have gone through it. */
  readonly stream: TokenStream;
  readonly #generated: number[] = [];
  #text = '';
  /** Of the step under way. */
  #ids: number[] = [];
  #pieces: Piece[] = [];
  #cached = 0;
  /** Where the prompt was computed; known before the first token. */
  route?: RouteReport;

  constructor({ served }: Runtime, order: RunOrder, generate: GenerateRequest, fingerprint: string, told: () => Told) {
    const { request } = order;
    this.#order = order;
    this.#generate = generate;
    this.#fingerprint = fingerprint;
    this.#told = told;
    this.#choice = choiceOf(request, request.stop);
    this.stream = answerText(served, generate.prompt, { chat: true, tools: request.toolChoice.mode !== 'none' });
    for (const id of order.generated) {
      generate.constraint?.accept(id);
      this.#say(id, this.stream.push(id));
    }
  }

  /** Prompt and output. */
  get ids(): number[] {
    return [...this.#generate.prompt, ...this.#generated];
  }

  /** Tokens of these that were not found. */
  get computed(): number {
    return this.ids.length - this.#cached;
  }

  /** Why a turn whose tokens are all there has ended; undefined: it has not. `most`: tokens that a sequence may have. */
  ended(most: number): FinishReason | undefined {
    if (this.#choice.stopped) return 'stop';
    const { maxTokens, prompt } = this.#generate;
    return this.#generated.length >= Math.min(maxTokens, most - prompt.length) ? 'length' : undefined;
  }

  open(): string {
    return '';
  }

  begin(_index: number, cachedTokens: number): string {
    this.#cached = cachedTokens;
    const route = this.#order.request.explain && this.route ? { ...this.route, ttft: Date.now() - this.#arrived } : undefined;
    return line({ type: 'start', prompt: [...this.#generate.prompt], cachedTokens, fingerprint: this.#fingerprint, route });
  }

  push(_index: number, id: number, text: string, logprobs?: TokenLogprobs): string {
    const said = this.#say(id, text);
    this.#ids.push(id);
    this.#pieces.push(logprobs ? [said, chatLogprobs([logprobs])[0]] : said);
    return '';
  }

  settle(): string {
    const [ids, text] = [this.#ids, this.#pieces];
    this.#ids = [];
    this.#pieces = [];
    return ids.length > 0 ? line({ type: 'tokens', from: this.#generated.length - ids.length, ids, text }) : '';
  }

  stopped(): boolean {
    return this.#choice.stopped;
  }

  finish(_index: number, reason: FinishReason, rest: string): string {
    const { response, model, request } = this.#order;
    this.#choice.push(rest);
    this.#choice.finish();
    const tail = this.#choice.takeText();
    const finish = reason === 'length' && !this.#choice.stopped ? 'length' : 'stop';
    const meta = { id: response, model, created: 0, echo: {} };
    const output = outputOf(meta, this.#text + tail, request, finish === 'stop' ? 'completed' : 'incomplete');
    return line({ type: 'end', finish, tail, output, ...this.#told() });
  }

  close(): string {
    return '';
  }

  fail(error: ApiError): string {
    return line({ type: 'error', status: error.status, error: error.envelope().error });
  }

  /** What a token adds to the text that may be shown. */
  #say(id: number, text: string): string {
    this.#generated.push(id);
    this.#choice.push(text);
    const said = this.#choice.takeText();
    this.#text += said;
    return said;
  }
}

const line = (l: RunLine): string => `${JSON.stringify(l)}\n`;
