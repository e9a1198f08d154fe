/** A stage's Worker, a script of its own: a part of a model in an isolate of its own (wrangler.toml beside it). Nothing but a replica's binding reaches it. */
import { DurableObject } from 'cloudflare:workers';
import { type Stage as Part, release } from '../../engine/index.ts';
import { openTrace } from '../../serving/trace/trace.ts';
import { buildId } from '../build-id.ts';
import { readyStage, type StageEnv } from './load.ts';
import type { StageAnswer, StageCall, StageObject, StageOrder } from './wire.ts';

/** The isolate's part; its weights outlive the object. */
let held: { order: string; stage: Promise<Part> } | undefined;
let instance: string | undefined;

export class Stage extends DurableObject<StageEnv> implements StageObject {
  readonly #answered = new Map<StageCall['op'], Uint8Array>();

  async open(order: StageOrder): ReturnType<StageObject['open']> {
    if (order.build !== buildId)
      return { refused: `it was built from other sources (${buildId}) than the replica (${order.build}); deploy both again`, again: true };
    const wanted = JSON.stringify(order);
    try {
      if (held?.order !== wanted) {
        const ready = await readyStage(this.env, order); // what is refused leaves what is held as it is
        const stage = ready.load();
        const mine = { order: wanted, stage };
        held = mine;
        stage.catch(() => {
          if (held === mine) held = undefined;
        });
      }
      await held.stage;
    } catch (error) {
      return { refused: error instanceof Error ? error.message : String(error) };
    }
    instance = crypto.randomUUID();
    return { instance };
  }

  async call(wanted: string, call: StageCall, trace?: string): Promise<StageAnswer> {
    const span = openTrace(this.env, 'stage', trace)?.span('call', 'server', Date.now()).set({ 'turnstone.op': call.op });
    if (!span) return this.#call(wanted, call);
    const answer = await this.#call(wanted, call);
    span.end(Date.now(), 'bytes' in answer ? undefined : 'gone' in answer ? 'it is not the stage that was opened' : 'it failed');
    this.ctx.waitUntil(span.trace.send());
    return answer;
  }

  async #call(wanted: string, call: StageCall): Promise<StageAnswer> {
    if (wanted !== instance || !held) return { gone: true };
    const stage = await held.stage;
    try {
      switch (call.op) {
        case 'embed':
          return this.#answer('embed', await stage.embed(call.ids));
        case 'through':
          return this.#answer('through', await stage.through(call.slices, call.x, call.copies), call.x);
        case 'head':
          return this.#answer('head', await stage.head(call.x, call.best), call.x);
        case 'read':
          return { bytes: await stage.readPage(call.page, call.place) };
        case 'write':
          await stage.writePage(call.page, call.bytes, call.place);
          return { bytes: new Uint8Array() };
      }
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Lets go of what came with the call, and of the answer before: whoever asks has it, and asks for one of a kind at a time (engine/staged.ts). */
  #answer(op: StageCall['op'], bytes: Uint8Array, taken?: Uint8Array): StageAnswer {
    const before = this.#answered.get(op);
    if (before) release(before);
    if (taken) release(taken);
    this.#answered.set(op, bytes);
    return { bytes };
  }
}

export default { fetch: () => new Response('Not found', { status: 404 }) } satisfies ExportedHandler<StageEnv>;
