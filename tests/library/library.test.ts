import { beforeAll, expect, it } from 'vitest';
import { type Model, openModel, RequestError } from '../../library/node.ts';
import { wasmModules } from '../kernels/modules.ts';

let model: Model;
beforeAll(async () => {
  wasmModules(); // builds them where they are stale
  model = await openModel(undefined, { memoryMB: 64 });
  return () => model.close();
});

async function all(pieces: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const piece of pieces) text += piece;
  return text;
}
const LONG = { ignore_eos: true, max_tokens: 400, temperature: 0 };
const running = async (): Promise<number> =>
  Number(/^turnstone_num_requests_running\S* (\d+)/m.exec(await (await model.fetch('http://model/metrics')).text())?.[1]);

it('answers the same alone and beside others', async () => {
  const ask = (seed: number) => all(model.complete('Once upon a time', { max_tokens: 24, temperature: 1, seed }));
  const alone = [await ask(1), await ask(2)];
  expect(alone[0]).not.toBe(alone[1]);
  expect(await Promise.all([ask(1), ask(2), ask(1)])).toEqual([...alone, alone[0]]);
});

it('reads whole conversations, and goes on from a text', async () => {
  const whole = await all(model.complete('Once upon a time', { max_tokens: 20, temperature: 0 }));
  const begun = await all(model.complete('Once upon a time', { max_tokens: 8, temperature: 0 }));
  expect(whole.startsWith(begun)).toBe(true);
  const said = [
    { role: 'user' as const, content: 'My name is Ada.' },
    { role: 'assistant' as const, content: 'Hello, Ada.' },
    { role: 'user' as const, content: 'What is 2 + 3?' },
  ];
  expect(await all(model.chat(said, { temperature: 0, max_tokens: 16 }))).toMatch(/\S/);
});

it('stops computing when the signal says so, and when the loop is left', async () => {
  const stop = new AbortController();
  let pieces = 0;
  const aborted = (async () => {
    for await (const _ of model.chat('Tell me a story.', { ...LONG, signal: stop.signal })) if (++pieces === 3) stop.abort();
  })();
  await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
  expect(pieces).toBe(3);
  for await (const _ of model.chat('Tell me a story.', LONG)) break;
  await expect.poll(running).toBe(0);
  await expect(all(model.chat('Hi', { signal: AbortSignal.abort(new Error('too late')) }))).rejects.toThrow('too late');
});

it("throws what the API refuses, and refuses a closed model's work", async () => {
  const refused = all(model.chat('Hi', { temperature: 9 }));
  await expect(refused).rejects.toBeInstanceOf(RequestError);
  await expect(refused).rejects.toMatchObject({ status: 400, param: 'temperature' });
  expect((await model.fetch('http://model/v1/responses', { method: 'POST', body: '{}' })).status).toBe(415);
  await expect(openModel(undefined, { memoryMB: 1 })).rejects.toThrow('memoryMB is 1, must be from 16 to 4096');
  await expect(openModel('/nowhere.gguf')).rejects.toThrow('there is no such file or folder');
  const other = await openModel(undefined, { memoryMB: 32 });
  other.close();
  await expect(all(other.chat('Hi'))).rejects.toThrow('the model is closed');
});
