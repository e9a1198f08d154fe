/** Files and batches through OpenAI's own client, over real objects in workerd. */

import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Miniflare } from 'miniflare';
import OpenAI, { toFile } from 'openai';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { tenantNamed } from '../../serving/auth.ts';
import type { BatchKeeper } from '../../serving/batches.ts';
import { bundle } from './bundle.ts';
import { sessionServer } from './session-server.ts';

const KEY = 'sk-test-0123456789';
const OTHER = 'sk-other-012345678';
const ADMIN = 'admin-0123456789';
let contents: string;
let persist: string;
let server: Miniflare;
let url: string;

const start = async () => {
  const vars = { API_KEYS: `ann:${KEY},${OTHER}`, ADMIN_KEY: ADMIN };
  ({ server, url } = await sessionServer(contents, persist, { objects: { BATCHES: 'Batches', TENANT: 'Tenant' }, vars }));
};
const clientOf = (apiKey: string) => new OpenAI({ baseURL: `${url}v1`, apiKey, maxRetries: 1 });

beforeAll(async () => {
  persist = await mkdtemp(join(tmpdir(), 'turnstone-batches-'));
  contents = await bundle(new URL('stand-in-session.ts', import.meta.url));
  await start();
});
afterAll(() => server?.dispose());

interface Line {
  custom_id: string;
  response: { status_code: number; request_id: string; body: { output_text: string; error?: { param: string } } } | null;
  error: { code: string } | null;
}
const line = (custom_id: string, instructions: string, more: object = {}, endpoint = '/v1/responses') =>
  JSON.stringify({ custom_id, method: 'POST', url: endpoint, body: { model: 'm', input: 'hi', instructions, ...more } });
const upload = async (client: OpenAI, lines: string[]) =>
  client.files.create({ purpose: 'batch', file: await toFile(Buffer.from(lines.join('\n')), 'in.jsonl') });
const begin = async (client: OpenAI, lines: string[], more: object = {}) =>
  client.batches.create({ input_file_id: (await upload(client, lines)).id, endpoint: '/v1/responses', completion_window: '24h', ...more });
const ended = async (client: OpenAI, id: string) => {
  await expect
    .poll(async () => (await client.batches.retrieve(id)).status, { timeout: 60_000 })
    .toMatch(/completed|cancelled|failed|expired/);
  return client.batches.retrieve(id);
};
const linesOf = async (client: OpenAI, file: string | undefined): Promise<Line[]> =>
  (await (await client.files.content(file!)).text())
    .trim()
    .split('\n')
    .map((l) => JSON.parse(l) as Line);

it('files are kept, listed, read and deleted, each key its own', async () => {
  const client = clientOf(KEY);
  const text = [line('a', 'x'), line('b', 'y')];
  const file = await upload(client, text);
  expect(file).toMatchObject({ object: 'file', purpose: 'batch', filename: 'in.jsonl', bytes: text.join('\n').length });
  expect(await (await client.files.content(file.id)).text()).toBe(text.join('\n'));
  expect((await client.files.list({ purpose: 'batch' })).data.map((f) => f.id)).toEqual([file.id]);
  const other = clientOf(OTHER);
  expect((await other.files.list()).data).toEqual([]);
  await expect(other.files.retrieve(file.id)).rejects.toMatchObject({ status: 404, param: 'file_id' });
  await expect(other.batches.create({ input_file_id: file.id, endpoint: '/v1/responses', completion_window: '24h' })).rejects.toMatchObject(
    {
      status: 404,
    },
  );
  expect(await client.files.delete(file.id)).toMatchObject({ deleted: true });
  await expect(client.files.content(file.id)).rejects.toMatchObject({ status: 404 });
  const big = client.files.create({ purpose: 'batch', file: await toFile(Buffer.alloc((8 << 20) + 1), 'big.jsonl') });
  await expect(big).rejects.toMatchObject({ status: 400, code: 'file_too_large' });
  const wrong = client.files.create({ purpose: 'fine-tune', file: await toFile(Buffer.from('x'), 'x') });
  await expect(wrong).rejects.toMatchObject({ status: 400, param: 'purpose' });
});

it('a batch answers each line, and tells of each that is wrong', async () => {
  const client = clientOf(KEY);
  const batch = await begin(client, [line('a', 'one two'), line('bad', 'x', { temperature: 9 }), line('c', 'three')], {
    metadata: { k: 'v' },
  });
  expect(batch).toMatchObject({ object: 'batch', status: 'in_progress', request_counts: { total: 3 }, metadata: { k: 'v' } });
  const done = await ended(client, batch.id);
  expect(done).toMatchObject({ status: 'completed', request_counts: { total: 3, completed: 2, failed: 1 } });
  const answers = await linesOf(client, done.output_file_id);
  expect(answers.map((l) => [l.custom_id, l.response?.status_code, l.response?.body.output_text])).toEqual([
    ['a', 200, 'one two'],
    ['c', 200, 'three'],
  ]);
  expect(await linesOf(client, done.error_file_id)).toMatchObject([
    { custom_id: 'bad', response: { status_code: 400, body: { error: { param: 'temperature' } } } },
  ]);
  expect((await client.batches.list()).data[0]).toEqual(done);
  const { metadata, input_file_id, created_at, output_file_id, error_file_id, completed_at } = done;
  expect(batch).toEqual({
    ...{
      id: batch.id,
      object: 'batch',
      endpoint: '/v1/responses',
      input_file_id,
      completion_window: '24h',
      errors: null,
      status: 'in_progress',
    },
    ...{
      output_file_id: null,
      error_file_id: null,
      created_at,
      expires_at: created_at + 86_400,
      in_progress_at: created_at,
      failed_at: null,
    },
    ...{ finalizing_at: null, completed_at: null, expired_at: null, cancelling_at: null, cancelled_at: null, metadata },
    request_counts: { total: 3, completed: 0, failed: 0 },
  });
  const ends = { status: 'completed', finalizing_at: completed_at, completed_at, output_file_id, error_file_id };
  expect(done).toEqual({ ...batch, ...ends, request_counts: { total: 3, completed: 2, failed: 1 } });
  expect(completed_at).toBeGreaterThanOrEqual(created_at);
  expect(answers.map((l) => [(l as { id?: string }).id, l.error, typeof l.response?.request_id])).toEqual(
    [0, 2].map((i) => [`batch_req_${batch.id.slice(6)}_${i}`, null, 'string']),
  );
  const output = await client.files.retrieve(output_file_id!);
  expect(output).toMatchObject({ filename: `${batch.id}_output.jsonl`, purpose: 'batch_output', status: 'processed' });
  expect(output.expires_at! - output.created_at).toBe(30 * 86_400);
  expect((await client.files.retrieve(error_file_id!)).filename).toBe(`${batch.id}_error.jsonl`);
  const again = await begin(client, [line('a', 'x')]);
  expect((await client.batches.list()).data.map((b) => b.id)).toEqual([again.id, batch.id]);
  expect((await ended(client, again.id)).error_file_id).toBe(null);
  await expect(clientOf(OTHER).batches.retrieve(batch.id)).rejects.toMatchObject({ status: 404 });
});

it('chats, too', async () => {
  const client = clientOf(KEY);
  const body = { model: 'm', messages: [{ role: 'user', content: 'hi' }] };
  const batch = await begin(client, [JSON.stringify({ custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body })], {
    endpoint: '/v1/chat/completions',
  });
  const done = await ended(client, batch.id);
  expect(await linesOf(client, done.output_file_id)).toMatchObject([
    { response: { body: { choices: [{ message: { content: '1 messages' } }] } } },
  ]);
});

it('a file that is no batch fails with the line and the reason, before anything runs', async () => {
  const client = clientOf(KEY);
  const lines = [line('a', 'x'), '{', line('a', 'x'), line('d', 'x', {}, '/v1/completions'), line('e', 'x', { stream: true })];
  const batch = await begin(client, lines);
  expect(batch).toMatchObject({ status: 'failed', in_progress_at: null, failed_at: batch.created_at, request_counts: { total: 1 } });
  expect(await client.batches.retrieve(batch.id)).toEqual(batch);
  expect(batch.errors!.data!.map((e) => [e.line, e.code])).toEqual([
    [2, 'invalid_json_line'],
    [3, 'duplicate_custom_id'],
    [4, 'mismatched_url'],
    [5, 'unsupported_value'],
  ]);
  expect((await begin(client, [])).errors!.data![0].code).toBe('empty_file');
  const wrong = { input_file_id: 'file-1', endpoint: '/v1/other' as never, completion_window: '24h' as const };
  await expect(client.batches.create(wrong)).rejects.toMatchObject({ status: 400, param: 'endpoint' });
});

it('a batch goes on after a restart, and is cancelled between two requests', async () => {
  const words = Array(12).fill('word').join(' ');
  const lines = Array.from({ length: 6 }, (_, i) => line(`n${i}`, `${words} ${i}`));
  const { id } = await begin(clientOf(KEY), lines);
  await expect
    .poll(async () => (await clientOf(KEY).batches.retrieve(id)).request_counts!.completed, { timeout: 30_000 })
    .toBeGreaterThan(0);
  await server.dispose();
  await start();
  const client = clientOf(KEY);
  const done = await ended(client, id);
  expect(done.request_counts).toEqual({ total: 6, completed: 6, failed: 0 });
  const answers = await linesOf(client, done.output_file_id);
  expect(answers.map((l) => l.response!.body.output_text)).toEqual(lines.map((_, i) => `${words} ${i}`));

  const other = await begin(client, lines);
  await expect
    .poll(async () => (await client.batches.retrieve(other.id)).request_counts!.completed, { timeout: 30_000 })
    .toBeGreaterThan(0);
  expect((await client.batches.cancel(other.id)).status).toMatch(/cancelling|cancelled/);
  const cancelled = await ended(client, other.id);
  const { completed, failed, total } = cancelled.request_counts!;
  expect([cancelled.status, completed + failed, total]).toEqual(['cancelled', 6, 6]);
  expect(failed).toBeGreaterThan(0);
  expect((await linesOf(client, cancelled.error_file_id)).map((l) => l.error?.code)).toEqual(Array(failed).fill('batch_cancelled'));
});

it('a batch whose 24 hours are over expires: what was answered is kept, the rest is told', async () => {
  const client = clientOf(KEY);
  const words = Array(40).fill('word').join(' ');
  const batch = await begin(
    client,
    Array.from({ length: 16 }, (_, i) => line(`n${i}`, `${words} ${i}`)),
  );
  expect(batch.expires_at! - batch.created_at).toBe(24 * 3600);
  await expect
    .poll(async () => (await client.batches.retrieve(batch.id)).request_counts!.completed, { timeout: 30_000 })
    .toBeGreaterThan(0);
  const tenant = await tenantNamed('ann');
  const objects = await server.getDurableObjectNamespace('BATCHES');
  const kept = objects.get(objects.idFromName(tenant)) as unknown as { endTime(id: string): Promise<void> };
  await kept.endTime(batch.id);
  const done = await ended(client, batch.id);
  const { completed, failed } = done.request_counts!;
  expect([done.status, completed + failed]).toEqual(['expired', 16]);
  expect(done.expired_at).toBeGreaterThanOrEqual(done.created_at);
  expect(Math.min(completed, failed)).toBeGreaterThan(0);
  expect((await linesOf(client, done.output_file_id)).length).toBe(completed);
  expect((await linesOf(client, done.error_file_id)).map((l) => l.error?.code)).toEqual(Array(failed).fill('batch_expired'));
});

/** The object of a tenant that nobody asks through the API. */
type Kept = BatchKeeper & {
  wake(): Promise<void>;
  kept(): Promise<{ rows: number[]; alarm: number | null }>;
  age(s: number): Promise<void>;
  swell(bytes: number): Promise<void>;
  fill(times: number, life: number, size: number): Promise<unknown>;
  beginAll(times: number, batch: object): Promise<unknown>;
};
const keeper = async (name: string): Promise<Kept> => {
  const objects = await server.getDurableObjectNamespace('BATCHES');
  return objects.get(objects.idFromName(name)) as unknown as Kept;
};
const DAY = 86_400;
const about = (life: number) => ({ filename: 'x', purpose: 'batch', life });
const asked = (inputFile: string) => ({ inputFile, endpoint: '/v1/responses' as const, window: DAY, metadata: null, outputLife: DAY });
const added = async (kept: Kept, life: number, bytes: Uint8Array) => {
  const file = await kept.addFile(about(life), bytes);
  if (!file.ok) throw new Error(file.why);
  return file.value;
};

it('a file of several rows comes back as it was, and a key has so many bytes of files', async () => {
  const kept = await keeper('large');
  expect(await kept.kept()).toEqual({ rows: [], alarm: null }); // to look makes nothing
  expect([await kept.files(), await kept.batches(), await kept.file('x'), await kept.cancel('x')]).toEqual([
    [],
    [],
    ...Array(2).fill({ ok: false, why: 'not_found' }),
  ]);
  expect(await kept.kept()).toEqual({ rows: [], alarm: null });
  const bytes = Uint8Array.from({ length: (2 << 20) + 1 }, (_, i) => (i * 7 + (i >> 8)) & 255);
  const file = await added(kept, DAY, bytes);
  expect(file).toEqual({
    id: file.id,
    object: 'file',
    bytes: bytes.length,
    created_at: file.created_at,
    expires_at: file.created_at + DAY,
    filename: 'x',
    purpose: 'batch',
    status: 'processed',
  });
  const read = (await kept.file(file.id, true)) as { value: { bytes: Uint8Array } };
  expect(Buffer.compare(read.value.bytes, bytes)).toBe(0);
  expect(await kept.file(file.id)).toEqual({ ok: true, value: { file } });
  expect(await kept.kept()).toEqual({ rows: [1, 3, 0, 0], alarm: file.expires_at * 1000 });
  const whole = await added(kept, DAY, bytes.subarray(0, 2 << 20));
  expect((await kept.kept()).rows).toEqual([2, 5, 0, 0]);
  await kept.swell(64 << 20);
  expect(await kept.addFile(about(DAY), new Uint8Array(1))).toEqual({ ok: false, why: 'full' });
  expect(await kept.addFile(about(DAY), new Uint8Array(0))).toMatchObject({ ok: true });
  expect(await kept.removeFile(whole.id)).toEqual({ ok: true, value: null });
  expect(await kept.removeFile(whole.id)).toEqual({ ok: false, why: 'not_found' });
  expect(await kept.addFile(about(DAY), new Uint8Array(1))).toMatchObject({ ok: true });
  await kept.erase();
  expect(await kept.kept()).toEqual({ rows: [], alarm: null });
});

it('a key has so many files and batches, and none of them for longer than it is kept', async () => {
  const kept = await keeper('many');
  const bad = await added(kept, DAY, new TextEncoder().encode('{')); // batches of it end as they begin
  expect(await kept.beginAll(64, asked(bad.id))).toMatchObject({ ok: true, value: { status: 'failed' } });
  expect(await kept.begin('t', asked(bad.id))).toEqual({ ok: false, why: 'full' });
  expect(await kept.begin('t', asked('file-none'))).toEqual({ ok: false, why: 'not_found' });
  expect(await kept.fill(255, 2 * DAY, 1)).toMatchObject({ ok: true });
  expect(await kept.addFile(about(DAY), new Uint8Array(1))).toEqual({ ok: false, why: 'full' });
  expect(await kept.kept()).toEqual({ rows: [256, 256, 64, 0], alarm: bad.expires_at * 1000 });
  await kept.age(DAY);
  expect(await kept.file(bad.id)).toEqual({ ok: false, why: 'not_found' });
  expect([(await kept.files()).length, (await kept.kept()).rows[0]]).toEqual([255, 256]);
  await kept.wake();
  expect((await kept.kept()).rows).toEqual([255, 255, 64, 0]);
  await kept.age(28 * DAY);
  await kept.wake();
  expect((await kept.kept()).rows).toEqual([0, 0, 64, 0]);
  const { alarm } = await kept.kept();
  expect(Math.abs(alarm! / 1000 - (bad.created_at + DAY))).toBeLessThan(60); // the batches are 29 days old
  await kept.age(DAY + 60);
  await kept.wake();
  expect(await kept.kept()).toEqual({ rows: [], alarm: null }); // nothing left: nothing is kept
  await kept.wake();
});

it('erasing a tenant takes its files and batches along', async () => {
  const client = clientOf(KEY);
  await upload(client, [line('a', 'x')]);
  const erased = await fetch(`${url}admin/tenants/ann`, { method: 'DELETE', headers: { authorization: `Bearer ${ADMIN}` } });
  expect(erased.status).toBeLessThan(300);
  expect((await client.files.list()).data).toEqual([]);
  expect((await client.batches.list()).data).toEqual([]);
});
