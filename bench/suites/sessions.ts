/** A session of 1,000 tokens resumed on a replica that has forgotten it: its KV pages from the session against computing them again. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Server } from '../../cli/start.ts';
import type { SessionPort } from '../../durable-objects/session/port.ts';
import { sessionName, sessionOf } from '../../serving/responses/ids.ts';
import { start } from '../clock.ts';
import { packOf, randomModel } from '../model.ts';
import { workerds } from '../process.ts';
import type { Bench } from '../report.ts';
import { median, spread } from '../stats.ts';
import { isolated } from './serving.ts';

const TOKENS = 1000;
const PAGE = 16;

interface Answer {
  id: string;
  output_text: string;
  usage: { input_tokens: number; input_tokens_details: { cached_tokens: number } };
}

let drawn = 1;
/** Words of four letters, never the same twice: no prompt begins as another. */
function words(n: number): string {
  const word = () => {
    drawn = (Math.imul(drawn, 1103515245) + 12345) >>> 0;
    return Array.from({ length: 4 }, (_, i) => 'abcdefghijklmnopqrstuvwxyz'[(drawn >>> (8 + 5 * i)) % 26]).join('');
  };
  return Array.from({ length: n }, word).join(' ');
}

async function post<T>(server: Server, path: string, body: object): Promise<T> {
  const response = await fetch(server.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: server.pack.id, ...body }),
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

const ask = (server: Server, body: object): Promise<Answer> =>
  post(server, '/v1/responses', { temperature: 0, ignore_eos: true, max_output_tokens: 1, ...body });

/** Waits until the session has so many pages: they come off the client's path. */
async function handedOver(server: Server, answer: Answer, pages: number): Promise<void> {
  const sessions = server.objects.namespace('SESSION');
  const stub = sessions.get(sessions.idFromName(sessionName('public', sessionOf(answer.id)!))) as unknown as SessionPort;
  for (let tries = 0; (await stub.stats()).pages < pages; tries++) {
    if (tries === 600) throw new Error(`the session has ${(await stub.stats()).pages} pages, not ${pages}`);
    await pause(50);
  }
}

const pagesOf = (a: Answer): number => Math.floor(a.usage.input_tokens / PAGE);

/** ms of whole requests by where the session's pages came from. */
async function resumed(bench: Bench, server: Server, pid: number, rounds: number) {
  const times = { restored: [] as number[], computed: [] as number[], warm: [] as number[] };
  const { count } = await post<{ count: number }>(server, '/v1/tokenize', { prompt: words(100) });
  const length = Math.floor((TOKENS * 100) / count);
  const first: Answer[] = [];
  for (let i = 0; i < rounds; i++) {
    bench.progress(`session ${i + 1} of ${rounds}`);
    const a = await ask(server, { input: words(length), store: true });
    await handedOver(server, a, pagesOf(a));
    first.push(a);
  }
  const { stats } = (await (await fetch(`${server.url}/ready`)).json()) as { stats: { pages: { total: number } } };
  for (let used = 0; used < stats.pages.total * 1.1; ) {
    bench.progress('other prompts, until nothing of the sessions is left in the replica');
    used += pagesOf(await ask(server, { input: words(length), store: false }));
  }
  const timed = async (kind: keyof typeof times, body: object): Promise<Answer> => {
    bench.progress(`${kind}`);
    const elapsed = start([pid]);
    const answer = await ask(server, { store: true, ...body });
    times[kind].push(elapsed());
    return answer;
  };
  for (const [i, a] of first.entries()) {
    const go = { previous_response_id: a.id };
    const apart = { ...go, cache_salt: `apart ${i}` };
    const restored = await timed('restored', { ...go, input: 'And then?' });
    await timed('warm', { ...go, input: 'And that?' });
    const computed = await timed('computed', { ...apart, input: 'And then?' });
    const cached = restored.usage.input_tokens_details.cached_tokens;
    if (cached < pagesOf(a) * PAGE) throw new Error(`only ${cached} tokens of ${a.usage.input_tokens} were restored`);
    if (computed.usage.input_tokens_details.cached_tokens > 0) throw new Error('what should have been computed was cached');
    await handedOver(server, computed, 2 * pagesOf(a)); // nothing is handed over beside the next
    const long = { max_output_tokens: 24, store: false, input: 'And then?' };
    const [one, other] = [await ask(server, { ...go, ...long }), await ask(server, { ...apart, ...long })];
    if (restored.output_text !== computed.output_text || one.output_text !== other.output_text) throw new Error('the tokens differ');
  }
  return times;
}

async function one(bench: Bench, name: string, model: string | undefined): Promise<number> {
  const before = new Set(workerds());
  return isolated(model, { SPECULATE: '0', SESSION_BYTES: String(256 << 20) }, async (server) => {
    const pid = workerds().find((p) => !before.has(p)) ?? 0;
    await ask(server, { input: words(40), max_output_tokens: 8, store: false }); // kernels are compiled
    const times = await resumed(bench, server, pid, bench.rounds);
    const warm = median(times.warm);
    const net = (list: readonly number[]) => spread(list.map((ms) => ms - warm));
    const note = `whole requests with one token: ${median(times.restored).toFixed(0)} restored, ${median(times.computed).toFixed(0)} computed, ${warm.toFixed(0)} with the pages still here`;
    bench.figure({ name: `${name}: restoring ${TOKENS} tokens of a session`, unit: 'ms', value: net(times.restored), note });
    bench.figure({ name: `${name}: computing them again`, unit: 'ms', value: net(times.computed) });
    return (median(times.computed) - warm) / Math.max(0.1, median(times.restored) - warm);
  });
}

export async function sessions(bench: Bench): Promise<void> {
  const shipped = await one(bench, 'shipped model', undefined);
  bench.note(`shipped model: restoring is ${shipped.toFixed(1)} times faster than computing`);
  const gguf = await randomModel('smollm2-135m', 'Q4_0', bench.progress);
  await packOf(gguf, bench.progress);
  const ratio = await one(bench, 'SmolLM2 shape', gguf);
  bench.target({ name: 'SmolLM2 shape: restoring against computing again', got: ratio, want: 10, unit: ' times' });
}
