import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workerds } from '../../bench/process.ts';
import { familyShapes, randomGguf } from '../../cli/random-gguf.ts';
import type { SessionPort } from '../../durable-objects/session/port.ts';
import { sessionName, sessionOf } from '../../serving/responses/ids.ts';
import { missing, startTestServer } from './server.ts';

/** So many that a fast machine is not done before it is killed. */
const TOKENS = 400;
const LAST_KILL = 130; // tokens

interface Event {
  id: number;
  type: string;
  delta?: string;
  response?: { id: string; status: string; output_text: string };
}

/** Events as they come, until the stream ends or breaks. */
async function* eventsOf(response: Response): AsyncGenerator<Event> {
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let held = '';
  for (;;) {
    const { value, done } = await reader.read().catch(() => ({ value: undefined, done: true }));
    if (done) return;
    held += value;
    const frames = held.split('\n\n');
    held = frames.pop()!;
    for (const frame of frames) {
      const data = /^data: (.*)$/m.exec(frame)?.[1];
      if (data) yield { id: Number(/^id: (\d+)$/m.exec(frame)![1]), ...JSON.parse(data) } as Event;
    }
  }
}

const textOf = (events: readonly Event[]) => events.map((e) => (e.type === 'response.output_text.delta' ? e.delta : '')).join('');

const others = new Set(workerds());
const off = missing ?? (process.platform === 'linux' ? null : 'processes are found through /proc');
if (off) console.warn(`skipped: ${off}`);

/** The shipped model, and small random ones: Gemma 3's layers (a window on five of six, norms on keys), Qwen2's keys with a bias, LFM2's convolutions. */
const gemma = familyShapes.gemma3;
const MODELS = [
  { name: 'the shipped model', kills: 10 },
  { name: 'Gemma 3', kills: 2, config: gemma.config, keys: gemma.keys },
  {
    name: 'Qwen2',
    kills: 1,
    config: { ...gemma.config, family: 'qwen2', layers: 4, qkNorm: false, postNorms: false, qkvBias: true },
    keys: {},
  },
  { name: 'LFM2', kills: 2, config: familyShapes.lfm2.config, keys: familyShapes.lfm2.keys },
];

describe.skipIf(off).each(MODELS)('sessions that outlive their server: $name', ({ kills, config, keys }) => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-sessions-'));
  beforeAll(async () => {
    const file = config && join(folder, 'random.gguf');
    if (file) await randomGguf(file, config, 'Q8_0', 5, keys);
    server = await startTestServer({ SESSION_BYTES: '67108864' }, { port: 0, persist: join(folder, 'state') }, 1, file);
  });
  afterAll(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** SIGKILL for workerd, replica, session, scheduler and all; the launcher starts another on the same storage. */
  function kill(): number {
    const [pid, ...more] = workerds().filter((p) => !others.has(p));
    if (pid === undefined || more.length > 0) throw new Error('which workerd?');
    process.kill(pid, 'SIGKILL');
    return pid;
  }

  /** What a client does whose server is gone: it asks again until somebody answers. */
  async function insist(path: string, init?: RequestInit): Promise<Response> {
    for (let tries = 0; ; tries++) {
      try {
        return await fetch(server.url + path, init);
      } catch (error) {
        if (tries === 200) throw error;
        await pause(50);
      }
    }
  }

  const post = (body: object) =>
    insist('/v1/responses', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: server.model, max_output_tokens: TOKENS, min_tokens: TOKENS, ...body }),
    });

  /** The seed that was drawn, and how many characters of the answer were in storage when each replica began. */
  async function turnOf(id: string): Promise<{ seed: number; stored: number[] }> {
    const sessions = server.objects.namespace('SESSION');
    const stub = sessions.get(sessions.idFromName(sessionName('public', sessionOf(id)!))) as unknown as SessionPort;
    const { response } = (await stub.get(id))!;
    const lines = (await (await stub.fetch(`https://session/events?response=${id}`)).text()).trim().split('\n');
    const tokens = lines.map((line) => JSON.parse(line) as { index?: number; text: string }).filter((e) => e.index !== undefined);
    const stored = response.starts.map((n) => tokens.filter((e) => e.index! < n).reduce((sum, e) => sum + e.text.length, 0));
    return { seed: response.seed[1] * 2 ** 32 + response.seed[0], stored };
  }

  it(`killed at ${kills} random moments, the text is the undisturbed one, byte for byte, and each event comes once`, async () => {
    let uncommitted = 0;
    const killed = new Set<number>();
    for (let i = 0; i < kills; i++) {
      const body = { input: `Tell me a story about ${i} birds.`, temperature: i % 2 ? 0.8 : 0 };
      const seen: Event[] = [];
      const stopAt = 4 + Math.floor(Math.random() * LAST_KILL);
      // the client reads on until the connection breaks
      for await (const event of eventsOf(await post({ ...body, store: true, stream: true }))) {
        seen.push(event);
        if (seen.length === stopAt) killed.add(kill());
      }
      const delivered = textOf(seen);
      const id = seen[0].response!.id;
      expect(killed.size, `the stream broke: ${seen.length} events came, ${seen.at(-1)!.type} was the last`).toBe(i + 1);
      expect(seen.at(-1)!.type).not.toBe('response.incomplete');
      // the client only reconnects; it never sends its request again
      const rest = await insist(`/v1/responses/${id}?stream=true`, { headers: { 'last-event-id': String(seen.at(-1)!.id) } });
      for await (const event of eventsOf(rest)) seen.push(event);
      const last = seen.at(-1)!;
      expect(last.type).toBe('response.incomplete'); // all tokens were generated
      expect(seen.map((e) => e.id)).toEqual(seen.map((_, n) => n));
      const joined = textOf(seen);
      const { seed, stored } = await turnOf(id);
      expect(stored.length).toBeGreaterThanOrEqual(2);
      if (stored[1] < delivered.length) uncommitted++;
      const undisturbed = (await (await post({ ...body, store: false, seed })).json()) as { output_text: string };
      expect(joined).toBe(undisturbed.output_text);
      expect(last.response!.output_text).toBe(joined);
    }
    console.log(`${uncommitted} of ${kills} kills came after tokens were delivered that were not stored`);
    if (kills >= 10) expect(uncommitted).toBeGreaterThanOrEqual(3);
  });
});
