/** `npm start` as a process among others: killed, asked to end, started twice, and with the processes it keeps. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { alive, family, type Launcher, launch, noProc } from './launcher.ts';
import { missing, startTestServer } from './server.ts';

for (const why of [missing, noProc]) if (why) console.warn(`skipped: ${why}`);

const KEY = 'the-key-of-the-tests';
const ADMIN_KEY = 'the-operators-key';
const BARE = { EMBEDDER: '0', NPU: '0' };
const headers = { 'content-type': 'application/json', authorization: `Bearer ${KEY}` };
const post = (url: string, path: string, body: object) =>
  fetch(url + path, { method: 'POST', headers, body: JSON.stringify({ model: 'pebble', ...body }) });
const complete = (url: string, body: object) =>
  post(url, '/v1/completions', { prompt: 'Once upon a time', temperature: 1, ignore_eos: true, ...body });
/** What starts when it is first asked. */
const startsAll = async ({ url }: Launcher) => {
  expect((await post(url, '/v1/embeddings', { model: 'dunlin', input: 'x' })).status).toBe(200);
  expect((await fetch(`${url}/v1/npu/device`, { headers })).status).toBe(200);
};
const pids = (server: Launcher) => family(server.child.pid as number).map((p) => p.pid);
const workerds = (server: Launcher) => family(server.child.pid as number).filter((p) => p.name === 'workerd');
const gone = (all: readonly number[]) => expect.poll(() => all.filter(alive), { timeout: 5_000, interval: 50 }).toEqual([]);

/** What a server answers before it closes a connection on which no more than `text` comes. */
const closes = (port: number, text: string) =>
  new Promise<string>((done) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.on('data', (d) => {
      answer += d;
    });
    socket.on('close', () => done(answer));
    socket.on('error', () => done(answer));
  });

describe.skipIf(missing ?? noProc)('the launcher', () => {
  // it takes a while: the other tests run meanwhile
  let patient: Launcher;
  let closed: Promise<string[]>;
  beforeAll(async () => {
    patient = await launch(BARE);
    const port = Number(new URL(patient.url).port);
    const head = 'POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n';
    closed = Promise.all(['', head, `${head}Connection: close\r\n\r\n{"model":`].map((text) => closes(port, text)));
  });
  afterAll(() => patient?.remove());

  const servers: Launcher[] = [];
  const start = async (...args: Parameters<typeof launch>) => {
    const server = await launch(...args);
    servers.push(server);
    return server;
  };
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.remove();
  });

  it('killed, leaves nothing that serves; the next one on its storage has what was stored', async () => {
    const storage = mkdtempSync(join(tmpdir(), 'turnstone-killed-'));
    try {
      let id = '';
      for (let round = 0; round < 2; round++) {
        const server = await start({ STORAGE: storage, PROCESSES: '2', ...BARE });
        await server.prints('processes compute now');
        if (id) expect((await fetch(`${server.url}/v1/responses/${id}`)).status).toBe(200);
        id = ((await (await post(server.url, '/v1/responses', { input: 'Hello.', max_output_tokens: 4 })).json()) as { id: string }).id;
        const all = pids(server);
        expect(workerds(server)).toHaveLength(2);
        server.child.kill('SIGKILL');
        await gone(all);
      }
    } finally {
      rmSync(storage, { recursive: true, force: true });
    }
  });

  it('whose npm is asked to end, ends with all it started', async () => {
    const server = await start(BARE, ['npm', 'start']);
    const all = pids(server);
    expect(all.length).toBeGreaterThan(2);
    server.child.kill('SIGTERM');
    await gone(all);
  });

  it('whose npm is killed, too', async () => {
    const server = await start(BARE, ['npm', 'start']);
    const all = pids(server);
    server.child.kill('SIGKILL');
    await gone(all);
  });

  it('starts no second server on storage that is in use, and says whose it is', async () => {
    const first = await start(BARE);
    const said = await launch({ STORAGE: first.storage, ...BARE }).then(
      () => 'it serves',
      (error: Error) => error.message,
    );
    expect(said.trim().split('\n').at(-1)).toBe(
      `turnstone: STORAGE ${first.storage} is in use by the server with process id ${first.child.pid}. Stop it, or set STORAGE to another folder.`,
    );
    expect((await complete(first.url, { max_tokens: 2 })).status).toBe(200);
  });

  it('tries its port before anything else, and says in a line that it is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((done) => other.once('listening', done));
    const { port } = other.address() as AddressInfo;
    const said = await launch({ PORT: String(port), MODEL: '/there/is/none', ...BARE }).catch((error: Error) => error.message);
    other.close();
    expect(said).toBe(`turnstone: Port ${port} is taken. Set PORT to another one, e.g. PORT=8788 npm start.\n`);
  });

  it('does not start with a wrong setting, and its last line says why', async () => {
    const wrong: [Record<string, string>, string][] = [
      [{ MAX_QUEUE: '-3', RATE_PER_MINUTE: 'abc' }, 'turnstone: RATE_PER_MINUTE is "abc", must be a number in 0..1000000'],
      [{ EMBED_MODEL: '/there/is/none', EMBEDDER: '1' }, 'turnstone: EMBED_MODEL=/there/is/none: there is no embedding pack'],
      [{ MODEL: '/there/is/none' }, 'turnstone: MODEL=/there/is/none: there is no such file or folder, and no model of that name'],
      [{ HOST: '0.0.0.0' }, 'turnstone: HOST=0.0.0.0 would serve other machines: set API_KEYS'],
      [{ API_KEYS: ' ' }, 'turnstone: API_KEYS is set but holds no key'],
      [{ MEMORY_MB: '16' }, 'turnstone: '],
      [{ PROCESSES: '16', REPLICAS: '16' }, 'turnstone: PROCESSES × REPLICAS is 256, must be 64 at most'],
    ];
    const said = await Promise.all(wrong.map(([vars]) => launch({ ...BARE, ...vars }).catch((error: Error) => error.message)));
    wrong.forEach(([vars, why], i) => {
      expect(said[i], JSON.stringify(vars)).toBeTypeOf('string'); // it did not start
      expect((said[i] as string).trim().split('\n').at(-1), JSON.stringify(vars)).toContain(why);
    });
    expect(said[0]).toContain('MAX_QUEUE is "-3"');
  });

  it('names a misspelt setting', async () => {
    const server = await start({ MODLE: 'x.gguf', ...BARE });
    expect(server.said()).toMatch(/^turnstone: MODLE is no setting; did you mean MODEL\?$/m);
    expect(server.said().trim()).toMatch(/Note: MODLE is no setting; did you mean MODEL\?$/);
  });

  it('keeps every process running: all killed, all serve again', async () => {
    const server = await start({ API_KEYS: KEY });
    await startsAll(server);
    const before = workerds(server);
    expect(before).toHaveLength(3);
    for (const { pid } of before) process.kill(pid, 'SIGKILL');
    const works = async (ask: () => Promise<Response>) =>
      expect
        .poll(
          () =>
            ask().then(
              (r) => r.status,
              () => 0,
            ),
          { timeout: 20_000 },
        )
        .toBe(200);
    await works(() => complete(server.url, { max_tokens: 2 }));
    await works(() => post(server.url, '/v1/embeddings', { model: 'dunlin', input: 'x' }));
    await works(() => fetch(`${server.url}/v1/npu/device`, { headers }));
    expect(workerds(server).map((p) => p.pid)).not.toEqual(expect.arrayContaining(before.map((p) => p.pid)));
  });

  it('that cannot keep its server up ends with an exit code and the reason', async () => {
    const server = await start(BARE);
    const all = pids(server);
    while (server.child.exitCode === null) {
      for (const { pid } of workerds(server)) process.kill(pid, 'SIGKILL');
      await pause(20);
    }
    expect(await server.ended).toBe(1);
    expect(server.said().trim().split('\n').at(-1)).toMatch(/^turnstone: workerd ended or did not start 20 times within a minute/);
    await gone(all);
  });

  it('asked to end, refuses what is new with Retry-After, lets what runs end, and ends', async () => {
    const server = await start(BARE);
    const all = pids(server);
    const answer = await complete(server.url, { max_tokens: 1900, n: 2, stream: true });
    server.child.kill('SIGTERM');
    await server.prints('may end');
    const late = await complete(server.url, { max_tokens: 2 });
    expect([late.status, late.headers.get('retry-after')]).toEqual([503, '5']);
    expect((await fetch(`${server.url}/ready`)).status).toBe(503);
    const text = await answer.text();
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    expect(text).not.toContain('"error"');
    expect(await server.ended).toBe(0);
    await gone(all);
  });

  it('keeps conversations from other users, and keys from processes that need none', async () => {
    const server = await start({ API_KEYS: KEY, ADMIN_KEY });
    await startsAll(server);
    await post(server.url, '/v1/responses', { input: 'Hello.', max_output_tokens: 4 });
    const files = readdirSync(server.storage, { recursive: true }).map((f) => join(server.storage, String(f)));
    expect(files.filter((f) => f.endsWith('.sqlite')).length).toBeGreaterThan(2);
    for (const f of files) expect(statSync(f).mode & 0o077, f).toBe(0);
    const others = family(server.child.pid as number).filter((p) => p.pid !== server.child.pid);
    expect(others.length).toBeGreaterThan(3); // the shell that guards them among them
    for (const { pid, name } of others) {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8') + readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      expect(environment, name).not.toContain(KEY);
      expect(environment, name).not.toContain(ADMIN_KEY);
    }
  });

  it('has its server close connections whose request does not come', async () => {
    const [none, half, body] = await closed;
    expect([none, half]).toEqual(['', '']);
    expect(body).toMatch(/^HTTP\/1.1 408 /);
    expect((await fetch(`${patient.url}/health`)).status).toBe(200);
  });
});

describe.skipIf(missing)('a server that stops before its answers have ended', () => {
  it('tells their clients, those that wait too', async () => {
    const server = await startTestServer({ MAX_BATCH: '2' });
    try {
      const long = { max_tokens: 1900, ignore_eos: true, temperature: 1, prompt: 'Once' };
      const running = await Promise.all(
        [1, 2].map(() => complete(server.url, { ...long, model: server.model, stream: true, min_tokens: 1900 })),
      );
      const waiting = complete(server.url, { ...long, model: server.model });
      await expect
        .poll(async () =>
          ((await server.objects.namespace('SCHEDULER').get('scheduler')) as never as { stats(): Promise<{ waiting: number }> })
            .stats()
            .then((s) => s.waiting),
        )
        .toBe(1);
      let unfinished = 0;
      expect(
        await server.drain(0, (n) => {
          unfinished = n;
        }),
      ).toBe(3);
      expect(unfinished).toBe(3);
      for (const answer of running) {
        expect(await answer.text()).toContain('"code":"server_stopping"');
      }
      expect((await waiting).status).toBe(503);
      expect((await complete(server.url, { model: server.model, max_tokens: 1 })).headers.get('retry-after')).toBe('5');
    } finally {
      await server.stop();
    }
  });
});
