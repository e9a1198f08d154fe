/** What the server leaves open on its machine: every port of every process it starts is found, and tried with what runtimes for development answer. */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fetchSocket } from '../../cli/workerd/fetch.ts';
import { family, type Launcher, launch, listening, noProc } from './launcher.ts';
import { missing } from './server.ts';

for (const why of [missing, noProc]) if (why) console.warn(`skipped: ${why}`);

interface Try {
  name: string;
  path: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
}

/** A file that nobody should be able to make. */
const target = (port: number) => join(tmpdir(), `turnstone-written-${process.pid}-${port}`);
const up = '../'.repeat(12);
const tries = (port: number): Try[] => [
  ...['/core/store-temp-file', '/core/store-temp-file/'].map((path) => ({
    name: 'writes a file',
    path: `${path}?extension=${encodeURIComponent(`x/${up}${target(port)}`)}&prefix=${encodeURIComponent(`${up}tmp`)}`,
    method: 'POST',
    headers: { 'content-type': 'text/plain' }, // what a page may send without asking
    body: 'written',
  })),
  { name: 'writes the log', path: '/core/log', method: 'POST', headers: { 'mf-log-level': '1' }, body: 'forged' },
  { name: 'names Durable Objects', path: '/core/do-storage/turnstone-Session' },
  { name: 'deletes storage', path: '/core/workflow-storage/x/y', method: 'DELETE' },
  { name: 'tells of processes', path: '/core/dev-registry' },
  { name: 'tells of itself', path: '/core/public-url' },
  { name: 'renders an error', path: '/core/error', method: 'POST', body: '{"name":"Error","message":"x","stack":"x"}' },
  { name: 'starts a browser', path: '/browser/sessionIds' },
  ...['turnstone', 'embedder', ''].flatMap((worker) =>
    ['EMBEDDER', 'NPU'].map((binding) => ({
      name: `calls ${binding}`,
      path: '/v1/embeddings',
      method: 'POST',
      headers: { 'mf-custom-fetch-service': `core:user:${worker}:0:#${binding}`, 'content-type': 'application/json' },
      body: '{"kind":"embeddings","input":["x"]}',
    })),
  ),
  { name: 'calls a service by its number', path: '/model', headers: { 'mf-custom-fetch-service': '0/#EMBEDDER' } },
  { name: 'takes a registry', path: '/', method: 'POST', body: '{}' },
  {
    name: 'is a proxy of the platform',
    path: '/cdn-cgi/platform-proxy',
    headers: { 'mf-op': 'GET', 'mf-op-target': '[]', 'mf-op-key': 'x' },
  },
  { name: 'runs a schedule', path: '/cdn-cgi/handler/scheduled' },
  { name: 'explores', path: '/cdn-cgi/explorer/api/local/workers' },
  { name: 'has an inspector', path: '/json/list' },
];

interface Answer {
  status: number;
  text: string;
}

/** As a browser's page could not all do; any program can. Nothing at all is an answer too. */
const send = (port: number, t: Omit<Try, 'name'>, host = `127.0.0.1:${port}`): Promise<Answer | null> =>
  new Promise((resolve) => {
    const options = { host: '127.0.0.1', port, path: t.path, method: t.method ?? 'GET', headers: { host, ...t.headers }, timeout: 5_000 };
    const request = httpRequest(options, (response) => {
      let text = '';
      response.on('data', (d) => {
        text += d;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', () => resolve(null));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(null));
    request.end(t.body);
  });

describe.skipIf(missing ?? noProc).each([
  ['as it is by default', {}],
  ['with two processes', { PROCESSES: '2' }],
] as [string, Record<string, string>][])('the ports of a server %s', (_, vars) => {
  let server: Launcher;
  let processes: { pid: number; name: string }[];
  let ports: number[];
  let own: number;
  /** Its sockets are here: another test's server may run meanwhile. */
  const temporary = mkdtempSync(join(tmpdir(), 'turnstone-ports-'));
  const ask = (path: string, body?: object) =>
    fetch(`${server.url}${path}`, {
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
      headers: { 'content-type': 'application/json', authorization: 'Bearer the-key-of-the-tests' },
    });
  const workerds = () => family(server.child.pid as number).filter((p) => p.name === 'workerd').length;
  beforeAll(async () => {
    server = await launch({ API_KEYS: 'the-key-of-the-tests', TMPDIR: temporary, ...vars });
    if (vars.PROCESSES) await server.prints('processes compute now');
  });
  afterAll(async () => {
    await server?.remove();
    rmSync(temporary, { recursive: true, force: true });
  });

  it('begin with what a chat needs: the accelerator and the embedder start when they are first asked', async () => {
    const more = vars.PROCESSES ? 1 : 0;
    expect(workerds()).toBe(1 + more); // the accelerator and the embedder are not started yet, and this starts neither
    const parts = async () => ((await (await ask('/ready')).json()) as { parts: object }).parts;
    await expect.poll(parts).toMatchObject({ accelerator: 'not started', embedder: 'not started' }); // one that is slow to say so is told of as that
    expect(((await (await ask('/v1/models')).json()) as { data: { id: string; state: string }[] }).data.at(-1)).toMatchObject({
      ...{ id: 'dunlin', state: 'cold' },
    });
    expect((await ask('/v1/npu/report')).status).toBe(404);
    expect(workerds()).toBe(1 + more);
    expect((await ask('/v1/embeddings', { input: 'x' })).status).toBe(200);
    expect((await ask('/v1/npu/simulate', { model: 'pebble', device: 'edge-npu', prompt: 16 })).status).toBe(200);
    expect(workerds()).toBe(3 + more);
    await expect.poll(parts).toMatchObject({ accelerator: 'ready', embedder: 'ready' });
    processes = family(server.child.pid as number);
    ports = listening(processes.map((p) => p.pid));
    own = Number(new URL(server.url).port);
  });

  it('are one: its own', () => {
    expect(processes.filter((p) => p.name === 'workerd').length).toBe(vars.PROCESSES ? 4 : 3); // the server, the accelerator, the embedder, another
    expect(ports).toEqual([own]);
  });

  it('do nothing without a key, whatever a program on this machine sends', async () => {
    for (const port of ports) {
      for (const t of tries(port)) {
        const answer = await send(port, t);
        expect(answer && answer.status < 400, `port ${port} ${t.name}: ${answer?.status} ${answer?.text.slice(0, 200)}`).toBeFalsy();
        expect(answer?.status ?? 404, `port ${port} ${t.name}: ${answer?.text.slice(0, 200)}`).toBeLessThan(500);
      }
      expect(existsSync(target(port)), `port ${port} wrote a file`).toBe(false);
    }
    expect(server.said()).not.toContain('forged');
  });

  it('hear no header that a runner for development hears', async () => {
    for (const port of ports) {
      const forged: Record<string, string>[] = [
        { 'mf-original-url': 'http://127.0.0.1/health' },
        { 'mf-route-override': 'site' },
        { 'mf-cf-blob': '{' },
        { 'mf-cf-blob': '{"clientIp":"1.2.3.4"}' },
        { 'mf-proxy-shared-secret': 'x' },
        { 'mf-disable-pretty-error': '1' },
        { 'x-launcher': 'x' },
      ];
      for (const headers of forged) {
        expect((await send(port, { path: '/v1/models', headers }))?.status, JSON.stringify(headers)).toBe(401);
        expect((await send(port, { path: '/v1/responses/nothing', headers }))?.status, JSON.stringify(headers)).toBe(401);
      }
    }
  });

  it('and its sockets are in a folder for this user alone, and ask for the secret', async () => {
    const [folder] = readdirSync(temporary)
      .map((f) => join(temporary, f))
      .filter((f) => existsSync(join(f, 'control')) && statSync(join(f, 'control')).isSocket());
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect((await fetchSocket(join(folder, 'control'), 'http://control/SCHEDULER/scheduler/call/stats', { method: 'POST' })).status).toBe(
      404,
    );
    expect((await fetchSocket(join(folder, 'embedder'), 'http://embedder/model')).status).toBe(404);
    expect((await fetchSocket(join(folder, 'npu'), 'http://npu/v1/device')).status).toBe(401);
  });
});

describe.skipIf(missing ?? noProc)('a server without keys', () => {
  let server: Launcher;
  beforeAll(async () => {
    server = await launch({ EMBEDDER: '0', NPU: '0' });
  });
  afterAll(() => server?.remove());

  it('answers to names of this machine only, whatever headers say', async () => {
    const port = Number(new URL(server.url).port);
    expect((await send(port, { path: '/v1/models' }))?.status).toBe(200);
    const forged: Record<string, string>[] = [
      {},
      { 'mf-original-url': `http://127.0.0.1:${port}/v1/models` },
      { 'x-forwarded-host': '127.0.0.1' },
    ];
    for (const headers of forged) {
      expect((await send(port, { path: '/v1/models', headers }, 'evil.example'))?.status, JSON.stringify(headers)).toBe(403);
    }
  });
});
