/** Storage that fails under a running server, or is found damaged by the next one: what stores nothing goes on. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { missing, startTestServer } from './server.ts';

type TestServer = Awaited<ReturnType<typeof startTestServer>>;

/** A small file system of its own, or why there is none. */
function smallDisk(): { folder: string; remove: () => void } | { why: string } {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', folder], { stdio: 'pipe' });
  } catch (error) {
    rmSync(folder, { recursive: true });
    return { why: `no file system can be mounted here: ${String(error).split('\n')[0]}` };
  }
  const remove = () => {
    execFileSync('umount', ['-l', folder]);
    rmSync(folder, { recursive: true });
  };
  return { folder, remove };
}

const post = (server: TestServer, path: string, body: object) =>
  fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: server.model, ...body }),
  });
const complete = async (server: TestServer) => (await post(server, '/v1/completions', { prompt: 'Once', max_tokens: 2 })).status;
const ready = async (server: TestServer) => {
  const answer = await fetch(`${server.url}/ready`);
  const { parts } = (await answer.json()) as { parts: Record<string, string> };
  return { status: answer.status, parts };
};

describe.skipIf(missing)('storage', () => {
  it('a full disk stops no chat that stores nothing; stored responses say why, and are back with the space', async (t) => {
    const disk = smallDisk();
    if ('why' in disk) return t.skip(disk.why);
    const fill = join(disk.folder, 'fill');
    const server = await startTestServer({}, { port: 0, persist: join(disk.folder, 'state') });
    try {
      expect(await complete(server)).toBe(200);
      for (;;) {
        try {
          writeFileSync(fill, new Uint8Array(65_536), { flag: 'a' });
        } catch {
          break; // it is full
        }
      }
      for (let i = 0; i < 12; i++) expect(await complete(server)).toBe(200);
      const refused = await post(server, '/v1/responses', { input: 'Hi', max_output_tokens: 2 });
      expect(refused.status).toBe(503);
      expect(await refused.json()).toMatchObject({ error: { code: 'storage_failed' } });
      expect((await post(server, '/v1/responses', { input: 'Hi', max_output_tokens: 2, store: false })).status).toBe(200);
      const now = await ready(server);
      expect(now).toMatchObject({ status: 200, parts: { 'replica 0': 'ready' } });
      expect(now.parts.queue).toContain('in memory only');
      rmSync(fill);
      expect((await post(server, '/v1/responses', { input: 'Hi', max_output_tokens: 2 })).status).toBe(200);
      expect(await complete(server)).toBe(200);
    } finally {
      await server.stop();
      disk.remove();
    }
  });

  it("a queue's file that is no database any more is put aside, and the next server serves", async () => {
    const persist = mkdtempSync(join(tmpdir(), 'turnstone-damaged-'));
    const first = await startTestServer({}, { port: 0, persist });
    const kept = (await (await post(first, '/v1/responses', { input: 'Hi', max_output_tokens: 2 })).json()) as { id: string };
    await first.stop();
    const folder = join(persist, 'do/turnstone-Scheduler');
    const files = readdirSync(folder).filter((f) => /^[0-9a-f]{64}\.sqlite/.test(f));
    expect(files.length).toBeGreaterThan(0);
    for (const f of files) f.endsWith('.sqlite') ? writeFileSync(join(folder, f), 'no database'.repeat(1000)) : rmSync(join(folder, f));
    const second = await startTestServer({}, { port: 0, persist });
    try {
      expect(await complete(second)).toBe(200);
      expect((await ready(second)).parts).toMatchObject({ queue: 'ready', 'replica 0': 'ready' });
      const next = await post(second, '/v1/responses', { input: 'Hi', max_output_tokens: 2 });
      expect(next.status).toBe(200);
      expect(kept.id).toMatch(/^resp_/);
      expect(readdirSync(folder).some((f) => f.includes('.damaged-'))).toBe(true);
    } finally {
      await second.stop();
      rmSync(persist, { recursive: true, force: true });
    }
  });
});
