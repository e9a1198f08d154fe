/** The API outside of Workers, on wasm: what a GPU host and the page's own engine answer. */
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { localPack } from '../../cli/packs.ts';
import { DeviceLostError } from '../../kernels/webgpu/index.ts';
import { folderPack } from '../../models/node/files.ts';
import { parseCompletion } from '../../openai/requests/completion.ts';
import { explained, faultOf } from '../../serving/run/device-fault.ts';
import { dispatch } from '../../serving/run/dispatch.ts';
import { type Maker, openModel, wasmMaker } from '../../serving/run/open.ts';
import { chatPrompt } from '../../serving/run/prompt.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import { warmUp } from '../../serving/run/warm-up.ts';
import { wasmModules } from '../kernels/modules.ts';
import { appOf, requestTo } from './host.ts';

const openOn = async (maker: Maker): Promise<Runtime> => {
  const { folder } = await localPack(undefined, () => {});
  return openModel({ source: folderPack(folder), id: 'pebble', maker, memoryBytes: 96 << 20 });
};

describe('the API of a local engine', () => {
  let rt: Runtime;
  beforeAll(async () => {
    rt = await openOn(wasmMaker(wasmModules()));
  });
  const ask = (path: string, body?: unknown) => appOf(rt).fetch(requestTo(path, body));

  it('lists its model, alone too, and counts', async () => {
    expect(await (await ask('/v1/models')).json()).toMatchObject({ data: [{ id: 'pebble', max_model_len: rt.engine.plan.context }] });
    const off = { top_k: 0, min_p: 0, repetition_penalty: 1, frequency_penalty: 0, presence_penalty: 0 };
    const drawn = { temperature: 0.3, top_p: 0.9, ...off }; // what its pack recommends, else OpenAI's
    expect(await (await ask('/v1/models/pebble')).json()).toMatchObject({ id: 'pebble', object: 'model', sampling_defaults: drawn });
    expect((await ask('/v1/models/granite')).status).toBe(404);
    expect(await (await ask('/metrics')).text()).toContain('turnstone_');
    expect((await ask('/v1/nothing', {})).status).toBe(404);
  });

  it('computes as many choices at once as its lease has slots, and answers the same', async () => {
    const body = parseCompletion({ model: 'pebble', prompt: ['Once', 'Twice'], n: 4, max_tokens: 6, seed: 5, ignore_eos: true });
    const answer = async (headers: Record<string, string>) => {
      const r = await dispatch(rt, requestTo('/v1/completions', body, headers));
      return ((await r.json()) as { choices: { text: string }[] }).choices;
    };
    const all = await answer({});
    expect(all).toHaveLength(8);
    const add = vi.spyOn(rt.engine, 'add');
    let most = 0;
    const step = rt.engine.step.bind(rt.engine);
    const steps = vi.spyOn(rt.engine, 'step').mockImplementation((budget) => {
      const { running, waiting } = rt.engine.stats();
      most = Math.max(most, running + waiting);
      return step(budget);
    });
    const lease = { 'x-turnstone-request': 'wide', 'x-turnstone-replica': '0', 'x-turnstone-epoch': '1', 'x-turnstone-slots': '3' };
    expect(await answer(lease)).toEqual(all);
    expect(add).toHaveBeenCalledTimes(8);
    expect(most).toBe(3);
    add.mockRestore();
    steps.mockRestore();
  });

  it('answers responses that nobody keeps, and says so of others', async () => {
    const request = { model: 'pebble', input: 'What is 2 + 3?', temperature: 0, max_output_tokens: 8 };
    const answer = (await (await ask('/v1/responses', request)).json()) as { store: boolean; output: { type: string }[] };
    expect(answer).toMatchObject({ object: 'response', store: false });
    expect(answer.output[0].type).toBe('message');
    const refused = await ask('/v1/responses', { ...request, store: true });
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({ error: { param: 'store' } });
  });

  it('truncation: a conversation that is too long loses its oldest turns, and no more than it must', async () => {
    const turns = Array.from({ length: 40 }, (_, i) => [
      { role: 'user' as const, content: `Question ${i}: what is ${i} + ${i}? ${'Think well. '.repeat(8)}` },
      { role: 'assistant' as const, content: `It is ${2 * i}.` },
    ]).flat();
    const input = [{ role: 'system' as const, content: 'Be brief.' }, ...turns, { role: 'user' as const, content: 'And now?' }];
    const request = { model: 'pebble', input, temperature: 0, max_output_tokens: 40, ignore_eos: true };
    expect(await (await ask('/v1/responses', request)).json()).toMatchObject({
      error: { code: 'context_length_exceeded', param: 'input' },
    });
    const answer = (await (await ask('/v1/responses', { ...request, truncation: 'auto' })).json()) as { usage: { input_tokens: number } };
    expect(answer).toMatchObject({ truncation: 'auto', usage: { output_tokens: 40 } });
    const prompt = (from: number) => chatPrompt(rt.served, { messages: [input[0], ...input.slice(from)], tools: [] });
    const room = rt.engine.plan.context - 40;
    const first = input.findIndex((m, i) => m.role === 'user' && prompt(i).length <= room);
    expect(first).toBeGreaterThan(1);
    expect(answer.usage.input_tokens).toBe(prompt(first).length);
    const hopeless = { ...request, input: 'word '.repeat(20_000), truncation: 'auto' };
    expect(await (await ask('/v1/responses', hopeless)).json()).toMatchObject({ error: { code: 'context_length_exceeded' } });
  });

  it('computes only what it had not when a conversation goes on', async () => {
    const messages = [{ role: 'user', content: 'The goat has 4 stones and the bird has 9 stones and a boat.' }];
    await (await ask('/v1/chat/completions', { model: 'pebble', messages, max_tokens: 4 })).json();
    const pages = await ask('/v1/turnstone/pages', { model: 'pebble', messages });
    expect((await pages.arrayBuffer()).byteLength).toBeGreaterThan(rt.engine.kv.pageBytes);
  });
});

it('an answer that is not streamed and fails late has its own status, whatever its prefill took', async () => {
  const maker = wasmMaker(wasmModules());
  let fails = false;
  const slow: Maker = {
    ...maker,
    create(bytes) {
      const be = maker.create(bytes);
      const read: typeof be.read = async (...a) => {
        if (!fails) return be.read(...a);
        await new Promise((resolve) => setTimeout(resolve, 600)); // longer than a heartbeat
        throw new DeviceLostError('The GPU device was lost.');
      };
      return explained({ ...be, read });
    },
  };
  const rt = await openOn(slow);
  await warmUp(rt.engine);
  fails = true;
  const answer = await appOf(rt).fetch(requestTo('/v1/completions', { model: 'pebble', prompt: 'Once', max_tokens: 4 }));
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ error: { code: 'device_failed' } });
});

it("a GPU's fault is told to the client as it is, and a kept fault is found again", async () => {
  const maker = wasmMaker(wasmModules());
  let lost = false;
  const broken: Maker = {
    ...maker,
    create(bytes) {
      const be = maker.create(bytes);
      const fail = () => (lost ? Promise.reject(new DeviceLostError('The GPU device was lost.')) : undefined);
      return explained({ ...be, submit: () => fail() ?? be.submit(), read: (...a) => fail() ?? be.read(...a) });
    },
  };
  const rt = await openOn(broken);
  await warmUp(rt.engine);
  lost = true;
  const answer = await appOf(rt).fetch(requestTo('/v1/completions', { model: 'pebble', prompt: 'Once', max_tokens: 4 }));
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ error: { code: 'device_failed', message: 'The GPU device was lost.' } });
  const error = await warmUp(rt.engine).catch((e: unknown) => e);
  expect(faultOf(error)).toBeInstanceOf(DeviceLostError);
  expect(faultOf(new Error('another'))).toBeUndefined();
});
