import { adaptedSalt, type GenerateRequest } from '../../engine/index.ts';
import { asApiError } from '../../openai/errors.ts';
import { choiceSeed, resolveSampling } from '../../openai/requests/sampling.ts';
import type { ChatRequest, CompletionRequest, ResponsesRequest } from '../../openai/requests/types.ts';
import { createAnswer } from '../../openai/stream/create.ts';
import type { Cost } from '../../policy/cost.ts';
import { either } from '../either.ts';
import { watchGeneration } from '../trace/generation.ts';
import type { Held } from './adapters.ts';
import { AnswerWriter } from './answer-writer.ts';
import { checkIds, outputLimit, promptBest, stopIdsOf } from './checks.ts';
import { completionDemand, demandOf } from './constraint.ts';
import { heartbeatsUntil, takesLong } from './heartbeats.ts';
import { promptTokens as promptTold } from './logprobs.ts';
import { type RouteReport, routeHeader } from './npu.ts';
import { beatOf, isStream } from './outlet.ts';
import { chatPrompt, completionPrompt, withTemplate } from './prompt.ts';
import { leaseOf } from './report.ts';
import type { Runtime } from './runtime.ts';
import { keptBytes, pullPages, pushPages } from './session-pages.ts';
import { saltOf, tenantOf } from './tenant.ts';
import { answerText } from './text.ts';
import { TokenSink } from './token-sink.ts';
import { fingerprintOf, withAdapter } from './with-adapter.ts';

/** A chat, completion or response: prompts to tokens, sequences into the engine, text back as it comes. Throws ApiError before any page is taken. */
export const generate = (rt: Runtime, body: Asked, http: Request): Promise<Response> =>
  withAdapter(rt, body.model, (held) => generateWith(rt, held, body, http));

/** Characters of a header at the most. */
const HEADER = 1024;

type Asked = ChatRequest | CompletionRequest | ResponsesRequest;

async function generateWith(rt: Runtime, adapter: Held | undefined, body: Asked, http: Request): Promise<Response> {
  const arrived = Date.now();
  const { engine } = rt;
  const served = body.kind === 'completion' ? rt.served : withTemplate(rt.served, body.chatTemplate);
  const { tokenizer } = served;

  const chat = body.kind !== 'completion';
  const callable = body.kind !== 'completion' && body.toolChoice.mode !== 'none';
  const param = { chat: 'messages', response: 'input', completion: 'prompt' }[body.kind];
  const prompts = chat
    ? [chatPrompt(served, body, { limit: engine.maxPrompt, param })]
    : body.prompts.map((p) => completionPrompt(tokenizer, p, engine.maxPrompt));
  const sampling = resolveSampling(
    body.sampling,
    served.sampling,
    () => [...crypto.getRandomValues(new Uint32Array(2))] as [number, number],
  );
  const lease = leaseOf(http.headers);
  const id = lease?.id ?? http.headers.get('x-turnstone-request') ?? crypto.randomUUID();
  const tenant = tenantOf(http);
  const salt = saltOf(tenant, body.cacheSalt);
  const pageSalt = adaptedSalt(salt, adapter?.id);
  const best = body.kind === 'response' ? undefined : promptBest(body, prompts);
  // the accelerator has the base alone, and pages that are found tell nothing of the prompt
  const npu = adapter || best !== undefined ? undefined : rt.npu;
  const fingerprint = fingerprintOf(served, adapter);
  checkIds(served, body, prompts.flat());
  const { constraint, notEnforced: loose } = chat ? demandOf(served, body) : completionDemand(served, body);
  const stopIds = stopIdsOf(served, body);
  const requests: GenerateRequest[] = prompts.flatMap((prompt, p) => {
    const maxTokens = outputLimit(engine, body, prompt.length, param);
    return Array.from({ length: body.n }, (_, i) => ({
      id: `${id}/${p * body.n + i}`,
      prompt,
      maxTokens,
      stopIds,
      sampling: { ...sampling, seed: choiceSeed(sampling.seed, p * body.n + i) },
      salt,
      adapter: adapter?.id,
      owner: tenant,
      constraint: constraint?.(prompt),
      ...(best !== undefined && (i === 0 || !chat) && { promptLogprobs: best }), // a chat tells of its one prompt once
    }));
  });

  const answer = createAnswer(body, {
    id,
    model: body.model || served.id,
    created: Math.floor(arrived / 1000),
    fingerprint,
  });
  const echo =
    body.kind === 'completion' && body.echo
      ? (i: number) => {
          const given = body.prompts[Math.floor(i / body.n)];
          return typeof given === 'string' ? given : tokenizer.decode(given, { skipSpecial: true });
        }
      : undefined;
  const promptTokens = prompts.reduce((n, p) => n + p.length, 0);
  // pages of earlier requests under this key, whichever replica computed them
  const session = body.promptCacheKey === undefined || prompts.length > 1 ? undefined : rt.keyed?.(tenant, body.promptCacheKey);
  if (session && best === undefined) await pullPages(engine, session, prompts[0], pageSalt).catch((error) => console.warn('pages', error));
  const decided = Date.now();
  const leave = new AbortController();
  const gone = either(http.signal, leave.signal);
  let asked: RouteReport | undefined;
  // one prompt at a time is worth a transfer; several of a request share the loop as they are
  const routing = prompts.length === 1 ? npu?.prefill(prompts[0], salt, gone, (report) => (asked = report)) : undefined;
  // another model than at the previous response: nothing of it could be used
  const recomputed = body.kind === 'response' && body.previousFingerprint !== undefined && body.previousFingerprint !== fingerprint;
  const answered = async (route?: RouteReport): Promise<Response> => {
    const shown = route ?? npu?.several(prompts);
    let cost: Cost | undefined;
    const bill = () => {
      const tokens = prompts.reduce((n, p) => n + p.length, sink.output.length) - (route?.cached ?? 0);
      const kept = session && { ms: 0, bytes: keptBytes(engine, tokens) };
      cost ??= rt.bill?.({ computeMs: sink.computeMs, openMs: Date.now() - arrived, session: kept });
      return cost;
    };
    const extra = () => {
      const billed = bill();
      const turnstone = {
        ...(recomputed && { recomputed }),
        // a stream would have a chunk more, which nobody asked for
        ...(loose.length > 0 && !body.wire && (!body.stream || body.explain || body.kind === 'response') && { not_enforced: loose }),
        ...(body.explain && shown && { route: { ...shown, ttft: (sink.firstToken ?? Date.now()) - decided } }),
        ...(body.explain && sink.timings && { timings: sink.timings }),
        ...(body.explain && billed && { cost: billed }),
      };
      return Object.keys(turnstone).length > 0 ? { turnstone } : undefined;
    };
    const writer = new AnswerWriter({
      ...{ answer, choices: requests.length, n: body.n, echo, promptTokens, cachedTokens: route?.cached, extra },
      ...(best !== undefined && { scored: (i, scores) => promptTold(tokenizer, requests[i].prompt, scores) }),
    });
    const sink: TokenSink = new TokenSink({
      ...{ loop: rt.loop, tokenizer, metrics: rt.metrics, requests, writer, arrived, atOnce: lease?.slots },
      textOf: (prompt) => answerText(served, prompt, { chat, tools: callable }),
    });
    sink.end.then(() => adapter?.release());
    sink.start(gone);
    const told = watchGeneration(rt, http.headers.get('traceparent'), arrived);
    if (told)
      void sink.end.then(() =>
        told({
          ...{ timings: sink.timings, input: promptTokens, output: writer.generated },
          attributes: { 'gen_ai.operation.name': body.kind === 'completion' ? 'text_completion' : 'chat', 'turnstone.route': shown?.place },
        }),
      );
    void sink.end.then(bill); // also one that nobody heard to its end
    if (lease) {
      rt.reporter?.begin(lease, (why) => sink.fail(why));
      rt.reporter?.prompt(lease.id, promptTokens);
      sink.end.then(() => rt.reporter?.end(lease));
    }
    // off the client's path: what the session lacks
    if (session) {
      void sink.end
        .then(() => pushPages(engine, session, [...prompts[0], ...sink.output], pageSalt))
        .catch((error) => console.warn('pages', error));
    }
    const response = await sink.respond();
    if (shown) response.headers.set('x-turnstone-route', routeHeader(shown));
    if (loose.length > 0) response.headers.set('x-turnstone-not-enforced', encodeURI(loose.join(', ')).slice(0, HEADER));
    return response;
  };

  if (!routing || !(await takesLong(routing))) return answered(await routing);
  // only what is written lets the runtime learn that the client has left, and then the accelerator is free
  if (lease) {
    rt.reporter?.begin(lease, (why) => leave.abort(why));
    rt.reporter?.prompt(lease.id, promptTokens);
  }
  const rest = routing.then(answered);
  rest.catch(() => {
    adapter?.release();
    if (lease) rt.reporter?.end(lease);
  });
  return heartbeatsUntil(rest, {
    contentType: answer.contentType,
    headers: asked && { 'x-turnstone-route': routeHeader(asked, true) },
    beat: beatOf(answer.contentType),
    leave: () => leave.abort(),
    // no object that is an error comes with the status 200
    fail: (error) => (isStream(answer.contentType) ? answer.open() + answer.fail(asApiError(error)) : undefined),
  });
}
