/**
 * `npx tsx bench/memory.ts`: what the isolate of SmolLM2-135M-Instruct (the Q4_1 file) holds in workerd with its whole context in use, a schema
 * and six streams, beside the 128 MB that Cloudflare gives it.
 */
import { cpus } from 'node:os';
import type { Server } from '../cli/start.ts';
import { isolateMemory } from './isolate.ts';
import { realModel } from './real-models.ts';
import { isolated } from './suites/serving.ts';

const { path, missing } = realModel('smollm2');
if (missing) throw new Error(missing);

const SCHEMA = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer' }, tags: { type: 'array', items: { enum: ['red', 'green', 'blue'] } } },
  required: ['name', 'age', 'tags'],
  additionalProperties: false,
};

async function ask(server: Server, body: object): Promise<{ prompt_tokens: number; completion_tokens: number }> {
  const r = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: server.pack.id, ...body }),
  });
  const text = await r.text();
  if (r.status !== 200) throw new Error(`${r.status}: ${text.slice(0, 300)}`);
  return text.startsWith('data:') ? { prompt_tokens: 0, completion_tokens: 0 } : JSON.parse(text).usage;
}

const say = (what: string, { js, wasm }: { js: number; wasm: number }, kept: { js: number }) =>
  console.log(
    `${what}: ${(js + wasm).toFixed(1)} MiB in use (wasm ${wasm.toFixed(1)}, JavaScript ${js.toFixed(1)}; ${kept.js.toFixed(1)} with what V8 keeps for later)`,
  );

await isolated(path, { MEMORY_MB: '128' }, async (server) => {
  const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as { data: { max_model_len?: number }[] };
  const context = data[0].max_model_len ?? 0;
  console.log(`${cpus()[0].model}, ${new Date().toISOString().slice(0, 10)}: ${context} tokens of context in 128 MB`);
  const look = async (what: string) => say(what, await isolateMemory(server, true), await isolateMemory(server));
  await look('loaded');
  const sentence = 'The river ran past the old mill, and nobody in the village remembered who had built it. ';
  const story = sentence.repeat(Math.floor((context - 120) / 19));
  const long = { messages: [{ role: 'user', content: `${story}What is this about?` }], temperature: 0 };
  const first = await ask(server, { ...long, max_tokens: 16 });
  const whole = await ask(server, {
    ...long,
    max_tokens: context - first.prompt_tokens,
    min_tokens: context - first.prompt_tokens - 2,
    ignore_eos: true,
  });
  await look(`${whole.prompt_tokens} tokens of prompt and ${whole.completion_tokens} of answer`);
  const person = { role: 'user', content: 'Make up a person.' };
  await ask(server, {
    messages: [person],
    max_tokens: 64,
    response_format: { type: 'json_schema', json_schema: { name: 'p', schema: SCHEMA } },
  });
  await look('and a schema');
  const streams = Array.from({ length: 6 }, (_, i) =>
    ask(server, { messages: [{ role: 'user', content: `Tell me story ${i}.` }], stream: true, max_tokens: 48 }),
  );
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await look('while six streams run');
  await Promise.all(streams);
  await look('after them');
});
process.exit(0);
