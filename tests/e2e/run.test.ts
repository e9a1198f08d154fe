/** `turnstone run`: one answer from a server of its own, and a conversation in the terminal with one that runs. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { converse } from '../../cli/chat/terminal.ts';
import { benchCommand } from '../../cli/commands/bench.ts';
import { psCommand } from '../../cli/commands/ps.ts';
import { environment } from './launcher.ts';
import { missing, startTestServer } from './server.ts';

const KEY = 'sk-run-0123456789abcdef';

/** The command with this input; rejects never. */
async function turnstone(
  args: string[],
  vars: Record<string, string>,
  input = '',
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', join(ROOT, 'cli/index.ts'), 'run', ...args], {
    env: environment(vars),
    cwd: ROOT,
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (d) => {
    out += d;
  });
  child.stderr.on('data', (d) => {
    err += d;
  });
  child.stdin.end(input);
  const code = await new Promise<number | null>((done) => child.once('close', done));
  return { code, out, err };
}

describe.skipIf(missing)('turnstone run', () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-run-test-'));
  let server: Awaited<ReturnType<typeof startTestServer>>;
  beforeAll(async () => {
    server = await startTestServer({ API_KEYS: KEY });
  });
  afterAll(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('answers from a server of its own, which is gone afterwards', async () => {
    const r = await turnstone([server.model, 'Who are you?', '--temperature', '0', '--figures'], { TMPDIR: folder });
    expect(r, r.err).toMatchObject({ code: 0 });
    expect(r.out.trim().length).toBeGreaterThan(3);
    expect(r.err).toMatch(/\d+ tokens read, first after \d+ ms; \d+ written.*ended by (stop|length)/);
    expect(readdirSync(folder).filter((name) => name.startsWith('turnstone'))).toEqual([]);
    const here = await turnstone(['--url', server.url, '--temperature', '0', '--json'], { API_KEY: KEY }, 'Who are you?\n');
    expect(JSON.parse(here.out).text, here.err).toBe(r.out.trimEnd());
  });

  it('bench says how fast the server reads and writes', async () => {
    const lines: string[] = [];
    vi.stubEnv('API_KEY', KEY);
    const flags = { url: server.url, prompt: 64, tokens: 8, rounds: 2 };
    await benchCommand(undefined, { ...flags, json: true }, (line) => void lines.push(line)).finally(() => vi.unstubAllEnvs());
    expect(JSON.parse(lines[0])).toMatchObject({ model: server.model, prompt: 64, written: 8 });
    for (const name of ['prefill_per_s', 'decode_per_s']) expect(JSON.parse(lines[0])[name], name).toBeGreaterThan(0);
    await expect(benchCommand(undefined, { ...flags, tokens: 1 })).rejects.toThrow('--tokens is 1, must be an integer in 2..');
  });

  it('ps says what the server has loaded', async () => {
    const lines: string[] = [];
    vi.stubEnv('API_KEY', KEY);
    await psCommand({ url: server.url }, (line) => lines.push(line));
    await psCommand({ url: `${server.url}/v1/`, json: true }, (line) => lines.push(line));
    vi.unstubAllEnvs();
    expect(lines[0]).toMatch(/^name +kind +state +size +context +running +waiting +KV used$/);
    expect(
      lines.slice(1, -1).some((line) => /^pebble +chat +loaded .* 0 +0 +\d+ %$/.test(line)),
      lines.join('\n'),
    ).toBe(true);
    expect(JSON.parse(lines.at(-1) as string)).toContainEqual(
      expect.objectContaining({ id: 'pebble', state: 'loaded', running: 0, waiting: 0, kv: expect.any(Number) }),
    );
    await expect(psCommand({ url: server.url })).rejects.toThrow('asks for a key: set API_KEY');
    await expect(psCommand({ url: 'http://127.0.0.1:1' })).rejects.toThrow('does not answer');
  });

  it('says what is wrong, and ends with 1', async () => {
    const said = async (args: string[], vars: Record<string, string> = {}) => {
      const r = await turnstone(args, vars);
      expect(r.code).toBe(1);
      return r.err;
    };
    expect(await said([server.model, 'x', '--url', server.url])).toMatch(/key/);
    expect(await said(['nobody', 'hello', '--url', server.url], { API_KEY: KEY })).toContain(`has no model nobody; it has ${server.model}`);
    expect(await said([server.model, 'hello', '--url', 'http://127.0.0.1:1'])).toContain('http://127.0.0.1:1 does not answer');
    expect(await said([])).toContain('nothing to answer');
  });

  it('talks: commands, the conversation saved and loaded', async () => {
    const [input, output] = [new PassThrough(), new PassThrough()];
    let text = '';
    output.on('data', (d) => {
      text += d;
    });
    const chat = { url: server.url, model: server.model, key: KEY };
    const over = converse({ chat, sampling: { temperature: 0 }, system: 'Be short.', input, output });
    const say = async (line: string, expected: RegExp) => {
      text = '';
      input.write(`${line}\n`);
      await expect.poll(() => text).toMatch(expected);
    };
    const saved = join(folder, 'talk.json');
    await say('/help', /\/system TEXT/);
    await say('/nope', /there is no \/nope/);
    await say('/set temperature warm', /temperature is a number/);
    await say('/retry', /nothing to answer yet/);
    await say('/figures', /> /);
    await say('/set max_tokens 5', /> /);
    await say('Who are\\\nyou?', /ended by (stop|length)\n/);
    await say(`/save ${saved}`, /> /);
    const first = JSON.parse(readFileSync(saved, 'utf8')) as { role: string; content: string }[];
    expect(first.map((m) => m.role)).toEqual(['system', 'user', 'assistant']);
    expect(first[1].content).toBe('Who are\nyou?');
    await say('/retry', /ended by (stop|length)\n/);
    await say(`/save ${saved}`, /> /);
    expect(JSON.parse(readFileSync(saved, 'utf8'))).toEqual(first);
    writeFileSync(saved, '{"role": "user"}');
    await say(`/load ${saved}`, /that is no conversation/);
    input.write('/bye\n');
    await over;
  });
});
