import { type PageCopies, PagesLost, type Part, release, type StagePort, type StageSlice } from '../../engine/index.ts';
import type { Best } from '../../engine/runner.ts';
import { sleep } from '../../serving/sleep.ts';
import type { Hops } from '../../serving/trace/hops.ts';
import type { StageCall, StageObject, StageOrder } from './wire.ts';

/** How long a stage that does not answer is waited for: locally it is started again, and reads its weights, in a few seconds. */
const WAIT_MS = 15_000;
const PAUSE_MS = 50;
/** One that refuses since it, or this, is about to be replaced is asked again so late. */
const REPLACED_MS = 1000;
/** How long a call may take: far more than a step computes, wherever. */
const CALL_MS = 60_000;

/** A stage in another isolate, behind its Durable Object. */
export class RemoteStage implements StagePort {
  readonly part: Part;
  readonly #name: string;
  readonly #object: () => StageObject;
  readonly #order: StageOrder;
  readonly #wait: { openMs: number; callMs: number };
  readonly #hops?: Hops;
  #instance?: string;

  /** `object`: a new stub for each call: one that failed stays broken, and none may be used by another object than the one that made it, nor may a timer. */
  constructor(name: string, object: () => StageObject, order: StageOrder, wait = { openMs: WAIT_MS, callMs: CALL_MS }, hops?: Hops) {
    this.#wait = wait;
    this.#hops = hops;
    this.part = order.part;
    this.#name = name;
    this.#object = object;
    this.#order = order;
  }

  async open(): Promise<void> {
    this.#instance = undefined;
    const { openMs } = this.#wait;
    for (const until = Date.now() + openMs; ; ) {
      try {
        const answer = await within(openMs, this.#object().open(this.#order));
        dispose(answer);
        if (!('refused' in answer)) {
          this.#instance = answer.instance;
          return;
        }
        if (!answer.again || Date.now() + REPLACED_MS > until) throw new PagesLost(`${this.#name} refuses: ${answer.refused}`);
        await sleep(REPLACED_MS);
      } catch (error) {
        if (error instanceof PagesLost) throw error;
        if (Date.now() > until) throw new PagesLost(`${this.#name} does not answer: ${error instanceof Error ? error.message : error}`);
        await sleep(PAUSE_MS);
      }
    }
  }

  embed(ids: Uint32Array): Promise<Uint8Array> {
    return this.#call({ op: 'embed', ids });
  }

  through(slices: readonly StageSlice[], x: Uint8Array, copies: PageCopies): Promise<Uint8Array> {
    return this.#sent(x, (own) => ({ op: 'through', slices, x: own, copies }));
  }

  head(x: Uint8Array, best?: Best): Promise<Uint8Array> {
    return this.#sent(x, (own) => ({ op: 'head', x: own, best }));
  }

  readPage(page: number, place: number): Promise<Uint8Array> {
    return this.#call({ op: 'read', page, place });
  }

  async writePage(page: number, bytes: Uint8Array, place: number): Promise<void> {
    await this.#sent(bytes, (own) => ({ op: 'write', page, bytes: own, place }));
  }

  /** What is sent is the whole buffer behind a view: a view is copied, and the copy let go of. */
  async #sent(bytes: Uint8Array, call: (own: Uint8Array) => StageCall): Promise<Uint8Array> {
    if (bytes.byteLength === bytes.buffer.byteLength) return this.#call(call(bytes));
    const own = bytes.slice();
    try {
      return await this.#call(call(own));
    } finally {
      release(own);
    }
  }

  async #call(call: StageCall): Promise<Uint8Array> {
    const instance = this.#instance;
    if (instance === undefined) throw new PagesLost(`${this.#name} is not open`);
    const start = Date.now();
    const trace = this.#hops?.tell(this.#name);
    const answer = await within(this.#wait.callMs, this.#object().call(instance, call, trace)).catch((error: unknown) => {
      console.warn(`${this.#name} was lost:`, error instanceof Error ? error.message : error);
      return { gone: true } as const;
    });
    dispose(answer);
    this.#hops?.called(this.#name, start, Date.now());
    if ('bytes' in answer) return answer.bytes;
    if ('error' in answer) throw new Error(`${this.#name}: ${answer.error}`);
    if (this.#instance === instance) this.#instance = undefined;
    throw new PagesLost(`${this.#name} was lost`);
  }
}

/** Says that an answer is read: it is data, and nothing of it is the stage's. */
function dispose(answer: object): void {
  const { dispose } = Symbol as { dispose?: symbol };
  if (dispose !== undefined) (answer as Record<symbol, (() => void) | undefined>)[dispose]?.();
}

/** Rejects when a call takes longer: what comes of it then is not heard. */
async function within<T>(ms: number, call: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    clearTimeout(timer);
  }
}
