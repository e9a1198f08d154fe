/** A stage in another isolate as the replica sees it: one that hangs or refuses, and what clients hear when one is gone. */
import { describe, expect, it } from 'vitest';
import { RemoteStage } from '../../durable-objects/stage/port.ts';
import type { StageAnswer, StageObject, StageOrder } from '../../durable-objects/stage/wire.ts';
import { type GenerateRequest, GREEDY, PagesLost, type Part, type Stage } from '../../engine/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { drain, noise, testEngine, tiny } from '../engine/random-model.ts';
import { wasmModules } from '../kernels/modules.ts';
import { appOf, openShipped, requestTo } from './host.ts';

const modules = wasmModules();
const wasm = () => createWasm({ modules, memoryBytes: 24 << 20 });
const parts: Part[] = [
  { layers: [0, 1], embed: [0, 256], head: [0, 256] },
  { layers: [1, 2], embed: [256, 399], head: [256, 399] },
];
const config = { ...tiny, vocab: 399 };
const next = noise(3);
const request: GenerateRequest = {
  ...{
    id: 'a',
    prompt: Array.from({ length: 40 }, () => Math.floor(((next() + 1) / 2) * config.vocab)),
    maxTokens: 20,
    stopIds: [],
    salt: '',
  },
  sampling: GREEDY,
};

/** The object of a stage: what it is opened for and asked goes to the stage, but for the call that hangs. */
class Hosted implements StageObject {
  hangs = Number.POSITIVE_INFINITY;
  opened = 0;
  calls = 0;
  refused?: string;
  /** Refuses so often, since it is of another build. */
  replaced = 0;
  private readonly stage: Stage;

  constructor(stage: Stage) {
    this.stage = stage;
  }
  async open() {
    if (this.refused) return { refused: this.refused };
    if (this.replaced-- > 0) return { refused: 'it was built from other sources', again: true };
    return { instance: String(++this.opened) };
  }
  async call(instance: string, call: Parameters<StageObject['call']>[1]): Promise<StageAnswer> {
    if (++this.calls === this.hangs) return new Promise(() => {});
    if (instance !== String(this.opened)) return { gone: true };
    const { stage } = this;
    if (call.op === 'embed') return { bytes: await stage.embed(call.ids) };
    if (call.op === 'through') return { bytes: await stage.through(call.slices, call.x, call.copies) };
    if (call.op === 'head') return { bytes: await stage.head(call.x, call.best) };
    throw new Error('not asked here');
  }
}

const remote = (openMs = 100, stubOf: (host: Hosted) => StageObject = (host) => host) => {
  const hosted: Hosted[] = [];
  const engine = testEngine(wasm(), {
    config,
    parts: {
      stages: parts,
      create: wasm,
      port(stage) {
        const host = new Hosted(stage);
        hosted.push(host);
        return new RemoteStage(`stage ${hosted.length - 1}`, () => stubOf(host), { part: stage.part } as StageOrder, {
          openMs,
          callMs: 1_500,
        });
      },
    },
  });
  engine.add(request);
  return { engine, hosted };
};

describe('a stage', () => {
  it('is called through a stub of whoever calls: the replica that made the last one may be gone', async () => {
    let object = 0; // workerd: "Cannot perform I/O on behalf of a different Durable Object"
    const stubOf = (host: Hosted): StageObject => {
      const mine = object;
      const own = <T>(what: () => Promise<T>) => (mine === object ? what() : Promise.reject(new Error('a stub of another object')));
      return { open: () => own(() => host.open()), call: (instance, call) => own(() => host.call(instance, call)) };
    };
    const { engine, hosted } = remote(100, stubOf);
    let tokens = 0;
    while (engine.busy) {
      for (const e of await engine.step()) tokens += e.tokens.length;
      object++;
    }
    expect(tokens).toBe(20);
    expect(hosted.map((h) => h.opened)).toEqual([1, 1]); // none was lost
  });

  it('that hangs is given up in time and opened again, and the answer goes on with the same tokens', async () => {
    const calm = remote();
    const tokens = await drain(calm.engine);
    expect(tokens.get('a')).toHaveLength(20);
    const { engine, hosted } = remote();
    hosted[1].hangs = 9;
    expect(await drain(engine)).toEqual(tokens);
    expect(hosted.map((h) => h.opened)).toEqual([2, 2]);
    expect(engine.stats().pages.referenced).toBe(0);
  });

  it('that was replaced before the replica is waited for, and the answer goes on with the same tokens; not for ever', async () => {
    const tokens = await drain(remote().engine);
    const { engine, hosted } = remote(5_000);
    await engine.step();
    hosted[1].opened++; // what was opened is gone: its code is another
    hosted[1].replaced = 2;
    expect((await drain(engine)).get('a')).toEqual(tokens.get('a'));
    expect(hosted[1].replaced, 'it was asked until it took the replica').toBeLessThan(0);
    const never = remote();
    never.hosted[1].replaced = Number.POSITIVE_INFINITY;
    await expect(drain(never.engine)).rejects.toThrow('stage 1 refuses: it was built from other sources');
  });

  it('that refuses is named with its reason', async () => {
    const { engine, hosted } = remote();
    hosted[1].refused = 'its pack of m is 1, the replica’s 2';
    await expect(drain(engine)).rejects.toThrow('stage 1 refuses: its pack of m is 1, the replica’s 2');
  });
});

it('clients hear of a stage that is gone as 503 in their envelope, with when to try again, and are answered when it is back', async () => {
  const rt = await openShipped();
  const { step } = rt.engine;
  const app = appOf(rt);
  const ask = async (path: string, body: object) => app.fetch(requestTo(path, { model: rt.served.id, max_tokens: 3, ...body }));
  const messages = [{ role: 'user', content: 'Hello' }];
  rt.engine.step = () => Promise.reject(new PagesLost('stage 2 does not answer'));
  for (const [path, body] of [
    ['/v1/chat/completions', { messages }],
    ['/v1/completions', { prompt: 'Hello' }],
    ['/v1/messages', { messages }],
  ] as const) {
    const answer = await ask(path, body);
    const text = await answer.text();
    expect([answer.status, answer.headers.get('retry-after')], text).toEqual([503, '5']);
    const { error } = JSON.parse(text) as { error: { message: string; type: string } };
    expect(error.message).toBe('A part of the model is being started again. Try again later.');
    expect(error.type).toBe(path === '/v1/messages' ? 'overloaded_error' : 'service_unavailable_error');
  }
  rt.engine.step = step;
  expect((await ask('/v1/completions', { prompt: 'Hello' })).status).toBe(200);
});
