import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missing } from './server.ts';

const KILLS = 10;
const TOKENS = 900; // so many that a fast machine is not done before it is killed

interface Turn {
  seed: [number, number];
  /** Characters that were in storage when each replica began. */
  stored: number[];
}

interface Event {
  id: number;
  type: string;
  delta?: string;
  response?: { id: string; status: string; output_text: string };
}

/** The server in a process group of its own, so that it can be killed whole, workerd and all. */
class Killable {
  url = '';
  model = '';
  readonly state: string;
  readonly port: number;
  #child?: ChildProcess;
  #lines?: Interface;

  constructor(port: number, state: string) {
    this.port = port;
    this.state = state;
  }

  /** The killed server's port may be taken until its processes are gone. */
  async start(tries = 20): Promise<void> {
    for (let i = 1; ; i++) {
      try {
        return await this.#start();
      } catch (error) {
        if (i === tries) throw error;
        await new Promise((r) => setTimeout(r, 250));
      }
    }
  }

  async #start(): Promise<void> {
    const script = fileURLToPath(new URL('session-server.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', script, String(this.port), this.state], {
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout! });
    const [, url, model] = (await this.#line('READY')).split(' ');
    this.url = url;
    this.model = model;
  }

  async turn(id: string): Promise<Turn> {
    const answer = this.#line('TURN');
    this.#child!.stdin!.write(`turn ${id}\n`);
    return JSON.parse((await answer).slice(5)) as Turn;
  }

  /** SIGKILL, for the host and for workerd. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child?.pid) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    process.kill(-child.pid, 'SIGKILL');
    await gone;
  }

  #line(start: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const lines = this.#lines!;
      const take = (line: string) => {
        if (!line.startsWith(start)) return;
        lines.off('line', take);
        resolve(line);
      };
      lines.on('line', take);
      lines.once('close', () => reject(new Error(`the server ended before it said ${start}`)));
    });
  }
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

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

// SIGKILL leaves ports and processes to the system's mercy: run it by itself, with KILL_TEST=1
const off = process.env.KILL_TEST !== '1';
if (off) console.warn('skipped: KILL_TEST=1 runs the test that kills servers');

describe.skipIf(missing || off)('sessions that outlive their server', () => {
  let server: Killable;
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-sessions-'));
  beforeAll(async () => {
    server = new Killable(await freePort(), join(folder, 'state'));
    await server.start();
  });
  afterAll(async () => {
    await server.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  const post = (body: object) =>
    fetch(`${server.url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: server.model, max_output_tokens: TOKENS, ...body }),
    });
  const json = async (body: object) => (await (await post(body)).json()) as NonNullable<Event['response']>;

  it(`killed at ${KILLS} random moments, the text is the undisturbed one, byte for byte, and each event comes once`, async () => {
    let uncommitted = 0;
    for (let i = 0; i < KILLS; i++) {
      const body = { input: `Tell me a story about ${i} birds.`, temperature: i % 2 ? 0.8 : 0, ignore_eos: true };
      const seen: Event[] = [];
      const stopAt = 4 + Math.floor(Math.random() * 130);
      let killing: Promise<void> | undefined;
      try {
        for await (const event of eventsOf(await post({ ...body, store: true, stream: true }))) {
          seen.push(event);
          if (seen.length === stopAt) killing = server.kill();
        }
      } catch (error) {
        if (!killing) throw error; // the client reads on until the connection breaks
      }
      const id = seen[0].response!.id;
      await killing;
      await server.start();
      const delivered = seen.map((e) => (e.type === 'response.output_text.delta' ? e.delta : '')).join('');
      // the client only reconnects; it never sends its request again
      const rest = await fetch(`${server.url}/v1/responses/${id}?stream=true`, { headers: { 'last-event-id': String(seen.at(-1)!.id) } });
      for await (const event of eventsOf(rest)) seen.push(event);
      const last = seen.at(-1)!;
      expect(last.type).toBe('response.incomplete'); // all tokens were generated
      expect(seen.map((e) => e.id)).toEqual(seen.map((_, n) => n));
      const joined = seen.map((e) => (e.type === 'response.output_text.delta' ? e.delta : '')).join('');
      const { seed, stored } = await server.turn(id);
      expect(stored.length).toBeGreaterThanOrEqual(2);
      if (stored[1] < delivered.length) uncommitted++;
      const undisturbed = await json({ ...body, store: false, seed: seed[1] * 2 ** 32 + seed[0] });
      expect(joined).toBe(undisturbed.output_text);
      expect(last.response!.output_text).toBe(joined);
    }
    console.log(`${uncommitted} of ${KILLS} kills came after tokens were delivered that were not stored`);
    expect(uncommitted).toBeGreaterThanOrEqual(3);
  }, 900_000);
});
