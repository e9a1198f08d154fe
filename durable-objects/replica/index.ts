import { DurableObject } from 'cloudflare:workers';
import type { Engine } from '../../engine/index.ts';
import { PAGE } from '../../engine/layout.ts';
import { ApiError, isIsolateTaken, isolateTaken, modelUnavailable, notFound } from '../../openai/errors.ts';
import type { ServingMetrics } from '../../openai/prometheus.ts';
import { cellOfReplica } from '../../policy/cells.ts';
import { costOfAnswer } from '../../policy/cost.ts';
import { isolatesOf } from '../../policy/stages.ts';
import type { Heartbeat } from '../../policy/ticket.ts';
import { tellRoom } from '../../serving/prompt-room.ts';
import { cacheName } from '../../serving/responses/ids.ts';
import type { RunOrder } from '../../serving/responses/types.ts';
import { dispatch, inEnvelope } from '../../serving/run/dispatch.ts';
import { npuOf } from '../../serving/run/npu.ts';
import { runtimeOf } from '../../serving/run/open.ts';
import { Reporter } from '../../serving/run/report.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import type { SessionFetcher } from '../../serving/run/session-pages.ts';
import { runTurn } from '../../serving/run/turn.ts';
import { openTrace } from '../../serving/trace/trace.ts';
import type { ReplicaEnv } from '../env.ts';
import { objectNamed } from '../place.ts';
import { schedulerOf } from '../scheduler/port.ts';
import { stubAs } from '../stub.ts';
import { abortStage, hostStages } from './facets.ts';
import { begins, hasRoom, holding, isHeld, openEngine, served } from './model.ts';
import { LEAVING } from './port.ts';
import { stagesOf } from './stages.ts';

/** What needs no engine of the replica's own: a neighbour's on the same weights says the same. */
const LOOKS = ['/ready', '/v1/models', '/v1/tokenize', '/v1/apply-template', '/v1/detokenize'];

/** One engine with its weights. The Worker has already checked the key and the body; everything here is one request, one crossing. */
export class Replica extends DurableObject<ReplicaEnv> {
  private runtime?: Promise<Runtime>;

  constructor(ctx: DurableObjectState, env: ReplicaEnv) {
    super(ctx, env);
    begins(ctx.id.toString());
    hostStages(ctx);
  }

  /** Ends a stage that is a facet of this object, in the middle of whatever it computes; it is started again when it is called. */
  abortStage(stage: number): void {
    abortStage(stage);
  }

  override async fetch(request: Request): Promise<Response> {
    const path = new URL(request.url).pathname;
    if (path === LEAVING) return Response.json({ leaving });
    const answer = await inEnvelope(async () => {
      if (path === '/forget' && !this.runtime) return Response.json({ idle: true }); // it need not be opened for that
      const beside = path === '/metrics' || LOOKS.includes(path) ? await this.#beside() : undefined;
      if (beside && path === '/metrics') throw isolateTaken(); // its engine's counters are its neighbour's
      if (beside) return tellRoom(beside, await dispatch(beside, request));
      return holding(this.#id, async () => {
        const rt = await this.open();
        return tellRoom(rt, await this.answer(path, rt, request));
      });
    });
    return this.env.FIRST_MODEL === undefined ? answer : untilRead(answer);
  }

  private async answer(path: string, rt: Runtime, request: Request): Promise<Response> {
    if (path === '/close') {
      rt.reporter?.close();
      return new Response(null, { status: 204 });
    }
    if (path === '/forget') return forget(rt, ((await request.json()) as { tenant: string }).tenant);
    if (path === '/session/run') return this.turn(rt, (await request.json()) as RunOrder, request);
    return dispatch(rt, request);
  }

  get #id(): string {
    return this.ctx.id.toString();
  }

  /** A neighbour's engine, to look at, where the isolate has none for this replica and makes none. */
  async #beside(): Promise<Runtime | undefined> {
    const model = await served(this.env, this.#model(), this.#id);
    const [kept] = hasRoom(model, this.env, this.#id) ? [] : model.engines.values();
    return kept && runtimeOf(model, kept, true);
  }

  /** The queue learns that this replica is none at present: it gives out its work elsewhere, and asks again after a while. */
  async #refuse(): Promise<void> {
    const { SCHEDULER } = this.env;
    const replica = /^replica-(\d+)/.exec(this.ctx.id.name ?? '')?.[1];
    if (!SCHEDULER || replica === undefined) return;
    await schedulerOf({ ...this.env, SCHEDULER }, this.#model(), cellOfReplica(replica, this.env)).died(replica);
  }

  /**
   * Loads the model once; after a failure the next request tries again, and so it does where another model has come into its place, or
   * another replica into its engine's. Where the isolate computes for others, the queue is told before this rejects.
   */
  private async open(): Promise<Runtime> {
    const open = await this.runtime?.catch(() => undefined);
    if (open && !isHeld(open.served, open.engine, this.#id)) this.runtime = undefined;
    this.runtime ??= (async () => {
      const model = await served(this.env, this.#model(), this.#id);
      const kept = openEngine(model, this.env, this.#id);
      const rt = runtimeOf(model, kept, true);
      const { engine, loop, metrics } = rt;
      kept.loop = loop;
      const reporter = this.reporter(engine);
      loop.watch = (event) => reporter?.event(event);
      const npu = npuOf(this.env, { engine, loop, pack: model.digest, registry: metrics.registry });
      const { SESSION } = this.env;
      const keyed =
        SESSION && ((tenant: string, key: string) => owned(fetcher(objectNamed(SESSION, cacheName(tenant, key), this.env)), tenant));
      const bill = this.bill(metrics);
      const trace: Runtime['trace'] = {
        open: (given) => openTrace(this.env, 'replica', given),
        later: (work) => this.ctx.waitUntil(work),
      };
      return { ...rt, npu, reporter, bill, keyed, trace, hops: model.hops };
    })();
    this.runtime.catch(() => {
      this.runtime = undefined;
    });
    return this.runtime.catch(async (error) => {
      if (isIsolateTaken(error)) await this.#refuse().catch((fault) => console.warn('the queue was not told', fault));
      throw error instanceof ApiError ? error : modelUnavailable(error);
    });
  }

  /** The one that it is named after (port.ts), or else this isolate's. */
  #model(): string {
    const { name = '' } = this.ctx.id;
    const slash = name.indexOf('/');
    return slash < 0 ? this.env.MODEL_ID : name.slice(slash + 1);
  }

  /** Here alone: other hosts are not billed by the second. */
  private bill({ registry }: ServingMetrics): Runtime['bill'] {
    const stages = stagesOf(this.env);
    const isolates = stages ? isolatesOf(stages) : 1;
    const dollars = registry.counter(
      'turnstone_cost_dollars_total',
      'What answers cost on Cloudflare beyond what its plan includes, estimated.',
    );
    dollars.add(0);
    return (answered) => {
      const cost = costOfAnswer({ ...answered, isolates });
      dollars.add(cost.usd);
      return cost;
    };
  }

  private reporter(engine: Engine): Reporter | undefined {
    const { SCHEDULER } = this.env;
    if (!SCHEDULER) return undefined;
    const send = (replica: string, beat: Heartbeat) =>
      schedulerOf({ ...this.env, SCHEDULER }, this.#model(), cellOfReplica(replica, this.env)).heartbeat(replica, beat);
    const { maxSequences, pages } = engine.plan;
    return new Reporter({ slots: maxSequences, kvTokens: pages * PAGE, computed: (id) => engine.computed(id), send });
  }

  /** A session's turn; its pages come from and go to the session. */
  private turn(rt: Runtime, order: RunOrder, request: Request): Promise<Response> {
    const { SESSION } = this.env;
    if (!SESSION) throw notFound('This replica has no sessions.');
    const session = fetcher(SESSION.get(SESSION.idFromString(order.session)));
    return runTurn(rt, order, session, request, (work) => this.ctx.waitUntil(work));
  }
}

/** Answers that are on their way out of this isolate: computed, or not, and not read to their end by the process that asked. */
let leaving = 0;

/** The answer, which counts as leaving until it was read to its end or given up. */
function untilRead(response: Response): Response {
  if (!response.body) return response;
  const reader = response.body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  leaving++;
  let over = false;
  const end = () => {
    if (!over) leaving--;
    over = true;
  };
  const source: UnderlyingSource<Uint8Array> = {
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        controller.close();
      } catch (error) {
        controller.error(error);
      }
      end();
    },
    cancel(reason) {
      end();
      return reader.cancel(reason);
    },
  };
  return new Response(new ReadableStream(source, { highWaterMark: 0 }), response); // nothing is read ahead: what was asked for is what was sent
}

const fetcher = stubAs<SessionFetcher>;

/** Told whose it is: a session that keeps pages alone knows of no turn. */
const owned = (session: SessionFetcher, tenant: string): SessionFetcher => ({
  missing: (names) => session.missing(names),
  fetch: (url, init) => session.fetch(url, { ...init, headers: { 'x-turnstone-tenant': tenant } }),
});

/** So long a tenant's sequences have to end, after the queue has told of it: a heartbeat, and a step. */
const END_MS = 5_000;

/** Forgets all pages that are kept, a tenant's among them, once it runs nothing here. Answers whether that was so in time. */
async function forget(rt: Runtime, tenant: string): Promise<Response> {
  const late = Date.now() + END_MS;
  while (rt.engine.runs(tenant) && Date.now() < late) await scheduler.wait(20);
  rt.engine.pool.clear();
  return Response.json({ idle: !rt.engine.runs(tenant) });
}
