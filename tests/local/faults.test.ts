/** Two keys beside each other on one real engine: whatever goes wrong with a request of one, the other's answer is what it is alone. */
import { beforeAll, describe, expect, it } from 'vitest';
import { localPack } from '../../cli/packs.ts';
import type { GenerateRequest, StepEvent } from '../../engine/index.ts';
import { GREEDY } from '../../engine/index.ts';
import { type GrammarConstraint, GrammarError } from '../../models/grammar/index.ts';
import { folderPack } from '../../models/node/files.ts';
import type { ResponseFormat } from '../../openai/requests/types.ts';
import { Responses } from '../../serving/responses/memory-sessions.ts';
import { faultOf, follow } from '../../serving/run/constraint.ts';
import { EngineLoop, type Sink } from '../../serving/run/loop.ts';
import { openModel, wasmMaker } from '../../serving/run/open.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import { wasmModules } from '../kernels/modules.ts';
import { appOf, requestTo } from './host.ts';

let rt: Runtime;
beforeAll(async () => {
  const { folder } = await localPack(undefined, () => {});
  rt = await openModel({ source: folderPack(folder), id: 'pebble', maker: wasmMaker(wasmModules()), memoryBytes: 96 << 20 });
});

/** Until a loop has ended: the next one has the engine to itself. */
const rest = (loop: object) => expect.poll(() => (loop as { running: boolean }).running, { interval: 1 }).toBe(false);

/** Takes tokens, and throws where it is told to. */
class Recorder implements Sink {
  readonly ids: number[] = [];
  error?: unknown;
  private readonly throws?: 'event' | 'flush' | 'fail';
  private readonly done: () => void;
  readonly end: Promise<void>;

  constructor(throws?: 'event' | 'flush' | 'fail') {
    this.throws = throws;
    let done = () => {};
    this.end = new Promise((resolve) => {
      done = resolve;
    });
    this.done = done;
  }
  private trap(where: string, from = 0): void {
    if (this.throws === where && this.ids.length >= from) throw new Error(`${where} broke`);
  }
  event(event: StepEvent): void {
    expect(this.error).toBeUndefined(); // nothing comes after the end
    this.ids.push(...event.tokens.map((t) => t.id));
    this.trap('event', 5);
    if (this.throws === 'fail' && this.ids.length >= 5) throw new Error('event broke, and so will fail');
    if (event.finish) this.done();
  }
  flush(): void {
    this.trap('flush', 5);
  }
  fail(error: unknown): void {
    this.error = error;
    this.done();
    this.trap('fail');
  }
}

it.each([
  ['chat', 'text', '/x', 'tools'],
  ['chat', 'json_schema', '/properties/a', 'response_format'],
  ['chat', 'json_object', '/tools/0/parameters', 'tools'],
  ['response', 'json_schema', '', 'text.format'],
])('a grammar that cannot be followed in the middle of an answer is the request’s fault: %s, %s', async (kind, type, at, param) => {
  const fault = faultOf({ kind, responseFormat: { type } as ResponseFormat });
  let steps = 0;
  const ambiguous: GrammarConstraint = {
    mask() {
      if (++steps > 3) throw new GrammarError(at, 'pattern', 'too ambiguous to be followed');
      return null;
    },
    ...{ accept() {}, mayEnd: () => false, finished: () => false },
    clone() {
      throw new Error('not ahead'); // no drafts: one mask a token
    },
  };
  const sink = new Recorder();
  const request = { id: `${kind}/${type}`, prompt: [20, 30], maxTokens: 60, stopIds: [], salt: 'x', sampling: GREEDY };
  rt.loop.add({ ...request, constraint: follow(ambiguous, fault) }, sink);
  await sink.end;
  await rest(rt.loop);
  expect(sink.ids).toHaveLength(3);
  expect(sink.error).toMatchObject({ name: 'ApiError', status: 400, param, code: 'unsupported_schema' });
});

describe('a request whose sink throws ends alone', () => {
  const request = (id: string, seed: number): GenerateRequest => ({
    ...{ id, prompt: [seed + 20, seed + 30, seed + 40], maxTokens: 60, stopIds: [], salt: id },
    sampling: { ...GREEDY, temperature: 1, seed: [seed, 0] },
  });
  const run = async (loop: EngineLoop, sinks: Recorder[]): Promise<void> => {
    sinks.forEach((sink, i) => {
      loop.add(request(`${i}/0`, i), sink);
    });
    await Promise.all(sinks.map((s) => s.end));
    await rest(loop);
    expect(rt.engine.stats()).toMatchObject({ running: 0, waiting: 0, pages: { referenced: 0 } });
  };

  it.each(['event', 'flush', 'fail', 'watch'] as const)('%s', async (where) => {
    const calm = [new Recorder(), new Recorder(), new Recorder()];
    await run(new EngineLoop(rt.engine), calm);
    const loop = new EngineLoop(rt.engine);
    if (where === 'watch') {
      let seen = 0;
      loop.watch = (event) => {
        if (event.request === '1/0' && ++seen > 5) throw new Error('watch broke');
      };
    }
    const sinks = [new Recorder(), new Recorder(where === 'watch' ? undefined : where), new Recorder()];
    await run(loop, sinks);
    expect(String(sinks[1].error)).toContain('broke');
    for (const i of [0, 2]) {
      expect(sinks[i].ids).toHaveLength(60);
      expect(sinks[i].ids).toEqual(calm[i].ids);
    }
    // and the loop still runs
    const after = [new Recorder()];
    await run(loop, after);
    expect(after[0].ids).toEqual(calm[0].ids);
  });
});

describe('over the API', () => {
  const keys = { ours: 'sk-ours-0123456789', theirs: 'sk-theirs-0123456789' };
  const vars = { API_KEYS: Object.values(keys).join() };
  let app: ReturnType<typeof appOf>;
  beforeAll(() => {
    app = appOf(rt, new Responses(async () => rt), vars);
  });
  const ask = (whose: keyof typeof keys, path: string, body: object) =>
    app.fetch(requestTo(path, { model: 'pebble', ...body }, { authorization: `Bearer ${keys[whose]}` }));
  const raw = (path: string, body: BodyInit, headers: Record<string, string> = {}) =>
    appOf(rt).fetch(
      new Request(`http://localhost${path}`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body }),
    );
  const few = JSON.stringify({ model: 'pebble', prompt: 'x', max_tokens: 2 });

  it('bodies and paths are read as the Worker reads them', async () => {
    const packed = await new Response(new Blob([few]).stream().pipeThrough(new CompressionStream('gzip'))).arrayBuffer();
    expect((await raw('/v1/completions', packed, { 'content-encoding': 'gzip' })).status).toBe(200);
    const cases: [BodyInit, Record<string, string>, number, string][] = [
      [few, { 'content-encoding': 'br' }, 415, 'unsupported_content_encoding'],
      ['{', {}, 400, 'invalid_json'],
      ['['.repeat(200), {}, 400, 'json_too_deep'],
      [`{"user":"${'x'.repeat(5 << 20)}"}`, {}, 413, 'payload_too_large'],
    ];
    for (const [body, headers, status, code] of cases) {
      const r = await raw('/v1/completions', body, headers);
      expect([r.status, ((await r.json()) as { error: { code: string } }).error.code]).toEqual([status, code]);
    }
  });

  const messages = [{ role: 'user', content: 'Give the name and the age as JSON: Ann is 5 years old.' }];
  const theirs = { prompt: 'A goat and a bird', temperature: 1, seed: 5, max_tokens: 120, ignore_eos: true };
  const textOf = async (r: Response) => {
    expect(r.status).toBe(200);
    return ((await r.json()) as { choices: { text: string }[] }).choices[0].text;
  };
  /** What the other key gets beside the attack is what it gets alone. */
  const beside = async (attack: () => Promise<void>): Promise<void> => {
    const alone = await textOf(await ask('theirs', '/v1/completions', theirs));
    const running = ask('theirs', '/v1/completions', theirs);
    await attack();
    expect(await textOf(await running)).toBe(alone);
  };
  const unknown = [
    ['logit_bias', { logit_bias: { 50256: -100 } }],
    ['logit_bias', { logit_bias: { 1048575: 1 } }],
    ['stop_token_ids', { stop_token_ids: [999_999] }],
  ] as const;

  it.each(unknown)('a token that the model does not have is a 400 that names %s', async (param, more) => {
    await beside(async () => {
      for (const [path, body] of [
        ['/v1/chat/completions', { messages }],
        ['/v1/chat/completions', { messages, stream: true, n: 3 }],
        ['/v1/completions', { prompt: ['x', 'y'] }],
        ['/v1/responses', { input: 'x', store: false }],
        ['/v1/responses', { input: 'x', store: true }],
      ] as const) {
        const r = await ask('ours', path, { ...body, ...more });
        expect([path, r.status]).toEqual([path, 400]);
        expect(await r.json()).toMatchObject({
          error: { type: 'invalid_request_error', param, message: expect.stringContaining('outside') },
        });
      }
    });
  });

  const forms = [
    { response_format: { type: 'json_object' } },
    {
      response_format: {
        type: 'json_schema',
        json_schema: { name: 's', schema: { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] } },
      },
    },
    { response_format: { type: 'json_schema', json_schema: { name: 's', schema: { enum: ['a', 'b'] } } } },
  ];
  it.each(forms)('min_tokens and ignore_eos end where the form does: %j', async (form) => {
    const ends = new Set<string>();
    await beside(async () => {
      for (const more of [{ min_tokens: 200 }, { ignore_eos: true }, { min_tokens: 200, ignore_eos: true, temperature: 0 }]) {
        const r = await ask('ours', '/v1/chat/completions', { messages, ...form, max_tokens: 400, seed: 3, ...more });
        expect(r.status).toBe(200);
        const { choices, usage } = (await r.json()) as {
          choices: { finish_reason: string; message: { content: string } }[];
          usage: { completion_tokens: number };
        };
        if (choices[0].finish_reason === 'length') expect(usage.completion_tokens).toBe(400);
        else expect(choices[0].finish_reason).toBe('stop');
        if (choices[0].finish_reason === 'stop') expect(() => JSON.parse(choices[0].message.content)).not.toThrow();
        ends.add(choices[0].finish_reason);
      }
    });
    expect(ends).toContain('stop');
  });

  it('a stop id that the form needs ends it, min_tokens or not', async () => {
    const close = rt.served.tokenizer.encode('}', { bos: false }).at(-1)!;
    await beside(async () => {
      const body = { messages, ...forms[1], max_tokens: 100, temperature: 0, min_tokens: 80, stop_token_ids: [close] };
      const r = await ask('ours', '/v1/chat/completions', body);
      expect(r.status).toBe(200);
      const { choices } = (await r.json()) as { choices: { finish_reason: string; message: { content: string } }[] };
      expect(choices[0].finish_reason).toBe('stop');
    });
  });

  const tool = {
    type: 'function',
    function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } },
  };
  interface Chat {
    choices: {
      finish_reason: string;
      message: { content: string | null; tool_calls?: { function: { name: string; arguments: string } }[] };
    }[];
  }
  const chat = async (body: object): Promise<Chat['choices'][number]> => {
    const r = await ask('ours', '/v1/chat/completions', { messages, max_tokens: 60, seed: 4, ...body });
    expect(r.status).toBe(200);
    return ((await r.json()) as Chat).choices[0];
  };

  it('a limit of tokens beyond what is left is named as the client spelt it; the default is what fits', async () => {
    const context = rt.engine.plan.context;
    const cases = [
      ['/v1/chat/completions', { messages, max_tokens: context }, 'max_tokens'],
      ['/v1/chat/completions', { messages, max_completion_tokens: context }, 'max_completion_tokens'],
      ['/v1/completions', { prompt: 'x', max_tokens: context }, 'max_tokens'],
      ['/v1/responses', { input: 'x', max_output_tokens: context }, 'max_output_tokens'],
      ['/v1/responses', { input: 'x', max_output_tokens: context, store: false }, 'max_output_tokens'],
      ['/v1/completions', { prompt: Array(context + 5).fill(30), max_tokens: 1 }, 'prompt'],
      ['/v1/responses', { input: 'word '.repeat(context), store: false }, 'input'],
    ] as const;
    for (const [path, body, param] of cases) {
      const r = await ask('ours', path, body);
      expect([path, param, r.status]).toEqual([path, param, 400]);
      expect(await r.json()).toMatchObject({ error: { param, code: 'context_length_exceeded' } });
    }
    const nearly = await ask('ours', '/v1/completions', { prompt: Array(context - 4).fill(30), ignore_eos: true });
    expect(await nearly.json()).toMatchObject({ usage: { completion_tokens: 4 }, choices: [{ finish_reason: 'length' }] });
    const plain = await ask('ours', '/v1/completions', { prompt: 'x', ignore_eos: true });
    expect(await plain.json()).toMatchObject({ usage: { completion_tokens: 16 } });
  });

  it('a stop string cuts no call, and one that the limit cuts does not look finished', async () => {
    const required = { tools: [tool], tool_choice: 'required' };
    const whole = await chat(required);
    expect(whole.finish_reason).toBe('tool_calls');
    JSON.parse(whole.message.tool_calls![0].function.arguments);
    expect((await chat({ ...required, stop: ['"', '}'] })).message.tool_calls).toMatchObject([
      { function: { arguments: whole.message.tool_calls![0].function.arguments } },
    ]);
    expect((await chat({ ...required, max_tokens: 15 })).finish_reason).toBe('length');
    for (const store of [true, false]) {
      const { name, parameters } = tool.function;
      const r = await ask('ours', '/v1/responses', {
        ...{ input: messages[0].content, tools: [{ type: 'function', name, parameters }], tool_choice: 'required', seed: 4 },
        ...{ max_output_tokens: 15, store },
      });
      expect(await r.json()).toMatchObject({ output: [{ type: 'function_call', status: 'incomplete' }] });
    }
  });

  it('no call begins where none may: not even when the model wants nothing else', async () => {
    const open = rt.served.tokenizer.encode('<tool_call>', { bos: false, special: true });
    const wanted = { tools: [tool], logit_bias: Object.fromEntries(open.map((id) => [String(id), 100])), temperature: 0 };
    expect((await chat({ ...wanted, tool_choice: 'auto' })).message.tool_calls).toHaveLength(1);
    const { message, finish_reason } = await chat({ ...wanted, tool_choice: 'none' });
    expect(message.tool_calls).toBeUndefined();
    expect(message.content).not.toContain('<tool_call>');
    expect(['stop', 'length']).toContain(finish_reason);
  });

  it('tools with a form: the answer is of the form, or a call', async () => {
    const form = { ...forms[1], tools: [tool], max_tokens: 100 };
    const said = await chat({
      ...form,
      logit_bias: Object.fromEntries(rt.served.tokenizer.encode('{', { bos: false }).map((id) => [String(id), 50])),
    });
    expect(said.finish_reason).toBe('stop');
    expect(JSON.parse(said.message.content!)).toEqual({ ok: expect.any(Boolean) });
    const called = await chat({ ...form, tool_choice: 'required' });
    expect(called.finish_reason).toBe('tool_calls');
    expect(called.message.content).toBeNull();
    const none = await chat({ ...form, tool_choice: 'none' });
    expect(JSON.parse(none.message.content!)).toEqual({ ok: expect.any(Boolean) });
  });

  it('a fault of its own ends a stored turn at once', async () => {
    let tries = 0;
    const broken: Runtime = {
      ...rt,
      served: {
        ...rt.served,
        get tokenizer() {
          return { ...rt.served.tokenizer, stream: () => ({ push: () => boom(), flush: () => '' }) };
        },
      } as Runtime['served'],
    };
    const boom = (): never => {
      tries++;
      throw new Error('no text');
    };
    const kept = new Responses(async () => broken);
    await beside(async () => {
      const made = await appOf(broken, kept).fetch(requestTo('/v1/responses', { model: 'pebble', input: 'x' }));
      expect(await made.json()).toMatchObject({ status: 'failed', error: { code: 'server_error' } });
    });
    expect(tries, 'what another go may mend is tried five times before it fails').toBe(1);
  });
});
