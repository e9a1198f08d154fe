/** An accelerator that fails in every way, behind the whole server: each request ends with the tokens of the local route, and /metrics says what happened. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Server, startServer } from '../../cli/start.ts';
import { type FaultyNpu, faults, healthy, startFaulty } from './faulty-npu.ts';

const PAGE = 16;
const N = 330; // tokens of a prompt: 20 whole pages for the accelerator
/** Token ids of a prompt that shares no page with another. */
const prompt = (seed: number, n = N): number[] => Array.from({ length: n }, (_, i) => 300 + ((i * i * 7 + i * 13 + seed * 101) % 3000));
const pagesOf = (ids: readonly number[]): number[] => ids.slice(0, Math.floor((ids.length - 1) / PAGE) * PAGE);

async function complete(server: Server, ids: readonly number[]) {
  const body = { model: server.pack.id, prompt: ids, max_tokens: 12, temperature: 0, ignore_eos: true, logprobs: 3, explain: true };
  const r = await fetch(`${server.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(r.status).toBe(200);
  const json = (await r.json()) as {
    choices: { text: string; logprobs: unknown }[];
    turnstone: { route: { place: string; why: string; ttft: number; took: number; bytes: number; error?: string } };
  };
  const [{ text, logprobs }] = json.choices;
  return { said: { text, logprobs }, route: json.turnstone.route, header: r.headers.get('x-turnstone-route') };
}

/** One value of /metrics by its name and a label. */
async function metric(server: Server, name: string, label: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const line = text.split('\n').find((l) => l.startsWith(`turnstone_npu_${name}{`) && l.includes(label));
  return line ? Number(line.split(' ').at(-1)) : Number.NaN;
}

describe('an accelerator that fails', () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-faults-'));
  let local: Server; // has the real service beside it, and never asks it
  let faulty: FaultyNpu;
  let server: Server;
  let patient: Server; // waits for it long
  const behind = (npu: 'npu' | 'auto', vars: Record<string, string> = {}): Promise<Server> => {
    const accelerator = { address: faulty.address, secret: local.npu!.secret };
    return startServer({ port: 0, npu, accelerator, vars, persist: join(folder, npu + Object.keys(vars)) });
  };

  beforeAll(async () => {
    local = await startServer({ port: 0, npu: 'local', persist: join(folder, 'local') });
    faulty = await startFaulty(local.npu!);
    server = await behind('npu');
    patient = await behind('npu', { NPU_WAIT_MS: '15000' });
    const first = await complete(server, prompt(0, 20)); // the service opens its model, and says how pages are named
    expect(first.said).toEqual((await complete(local, prompt(0, 20))).said);
  });
  afterAll(async () => {
    await faulty?.stop();
    await Promise.all([server?.stop(), patient?.stop(), local?.stop()]);
    rmSync(folder, { recursive: true, force: true });
  });

  it.each(faults.map((f, i) => [f.name, f, i] as const))('that %s costs time only', async (_, f, i) => {
    const ids = prompt(1 + i);
    const want = (await complete(local, ids)).said;
    await faulty.warm(pagesOf(ids));
    const result = f.refused ? 'refused' : 'failed';
    const before = { faults: await metric(server, 'faults_total', `fault="${f.fault}"`), asked: faulty.asked };
    const results = await metric(server, 'requests_total', `result="${result}"`);
    faulty.act = f.act;
    const got = await complete(server, ids);
    expect(got.said).toEqual(want);
    expect(got.route).toMatchObject({ place: 'local', why: 'failed' });
    // where it took long the answer had begun before
    expect(got.header).toMatch(/^local; why=failed; .*bytes=\d+$|^npu; why=forced; .*pending$/);
    expect(got.route.error, 'says what was wrong').toMatch(/\w+/);
    expect(faulty.asked).toBe(before.asked + 1);
    expect(await metric(server, 'faults_total', `fault="${f.fault}"`), `counted as ${f.fault}: ${got.route.error}`).toBe(before.faults + 1);
    expect(await metric(server, 'requests_total', `result="${result}"`)).toBe(results + 1);
  });

  it('that works again is used again, and its pages give the same answer', async () => {
    const ids = prompt(50);
    await faulty.warm(pagesOf(ids));
    faulty.act = healthy;
    const got = await complete(server, ids);
    expect(got.route).toMatchObject({ place: 'npu', why: 'forced' });
    expect(got.route.bytes).toBeGreaterThan(0);
    expect(got.said).toEqual((await complete(local, ids)).said);
    expect(await metric(server, 'breaker', 'state="closed"')).toBe(1);
    expect(await metric(server, 'breaker_transitions_total', 'to="closed"')).toBeGreaterThanOrEqual(1);
  });

  it('is left alone by the breaker, probed, and taken back: each transition is in /metrics', async () => {
    const auto = await behind('auto');
    const transitions = async () => {
      const all = ['open', 'half-open', 'closed'].map((to) => metric(auto, 'breaker_transitions_total', `to="${to}"`));
      return (await Promise.all(all)).join(' ');
    };
    const state = async () => {
      for (const s of ['closed', 'open', 'half-open']) if ((await metric(auto, 'breaker', `state="${s}"`)) === 1) return s;
      return undefined;
    };
    const answer = async (seed: number) => {
      const ids = prompt(seed);
      const got = await complete(auto, ids);
      expect(got.said).toEqual((await complete(local, ids)).said);
      return got.route;
    };
    try {
      expect([await state(), await transitions()]).toEqual(['closed', '0 0 0']);
      faulty.act = faults[0].act;
      const failures = () => metric(auto, 'requests_total', 'result="failed"');
      // nobody waits for what was not measured: it is asked once the prompt has been computed here
      for (let i = 0; i < 3; i++) {
        expect(await answer(60 + i)).toMatchObject({ place: 'local', why: 'probe', took: 0 });
        await expect.poll(failures, { timeout: 5_000, interval: 20 }).toBe(i + 1);
      }
      const { asked } = faulty;
      const opened = Date.now();
      expect(await answer(63)).toMatchObject({ place: 'local', why: 'breaker' });
      expect(Date.now() - opened, 'the pause is a second; this machine took longer').toBeLessThan(1000);
      expect(faulty.asked).toBe(asked);
      await expect.poll(state, { timeout: 5_000 }).toBe('half-open');
      expect(await transitions()).toBe('1 1 0');

      expect(await answer(64), 'the probe fails').toMatchObject({ place: 'local', why: 'probe' });
      await expect.poll(failures, { timeout: 5_000, interval: 20 }).toBe(4);
      expect(faulty.asked).toBe(asked + 1);
      expect([await state(), await transitions()]).toEqual(['open', '2 1 0']);

      faulty.act = healthy;
      await expect.poll(state, { timeout: 10_000 }).toBe('half-open');
      expect(await answer(65), 'the next probe does not').toMatchObject({ place: 'local', why: 'probe' });
      await expect.poll(state, { timeout: 10_000 }).toBe('closed');
      expect(await transitions()).toBe('2 2 1');
      const { predicted } = (await answer(66)) as unknown as { predicted: Record<string, number | null> };
      for (const ms of Object.values(predicted)) expect(ms).toBeGreaterThan(0); // by both sides, and by the device's own time
    } finally {
      await auto.stop();
    }
  });

  it.each([
    ['before its answer begins', false, false],
    ['after', false, true],
    ['before it begins', true, false],
    ['after', true, true],
  ] as const)('that hangs is let go when its client leaves %s (stream: %s)', async (_, stream, begun) => {
    const leave = new AbortController();
    const closed = new Promise<number>((resolve) => {
      faulty.act = (x) => void x.response.on('close', () => resolve(Date.now()));
    });
    const { asked } = faulty;
    const before = await metric(patient, 'requests_total', 'result="left"');
    const body = JSON.stringify({ model: patient.pack.id, prompt: prompt(40 + 2 * Number(begun) + Number(stream)), max_tokens: 2, stream });
    const headers = { 'content-type': 'application/json' };
    const answer = fetch(`${patient.url}/v1/completions`, { method: 'POST', headers, body, signal: leave.signal });
    answer.then((r) => r.text()).catch(() => {});
    await expect.poll(() => faulty.asked).toBe(asked + 1);
    if (begun) await answer; // its status goes out with the first sign of life
    const left = Date.now();
    leave.abort();
    expect((await closed) - left, 'it would be waited for for 15 s').toBeLessThan(10_000);
    await expect.poll(() => metric(patient, 'requests_total', 'result="left"'), { timeout: 10_000 }).toBe(before + 1);
  });

  it('a prompt whose caller leaves half-way frees the real service: it is not computed to its end', async () => {
    const get = async (path: string) => (await (await fetch(`${local.url}/v1/npu/${path}`)).json()) as { queue?: number; tokens?: number };
    const ids = pagesOf(prompt(70, 1985));
    await faulty.leave(ids);
    await expect.poll(async () => (await get('device')).queue, { interval: 20, timeout: 20_000 }).toBe(0);
    expect((await get('report')).tokens, 'the last prompt that was computed to its end is an earlier one').not.toBe(ids.length);
  });
});
