import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Log, LogLevel, Miniflare } from 'miniflare';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { QUIET, ROOT } from '../../cli/build.ts';
import { stagesCommand } from '../../cli/commands/stages.ts';
import { localPack, uploadPack } from '../../cli/packs.ts';

const run = promisify(execFile);
const out = mkdtempSync(join(tmpdir(), 'turnstone-deploy-'));
afterAll(() => rmSync(out, { recursive: true, force: true }));

/** A Worker's limits, uncompressed and gzipped. */
const LIMIT_MIB = 64;

const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js');
const env = { ...process.env, ...QUIET };
/** Of each script, as the command says they are deployed. */
let configs: string[];

beforeAll(async () => {
  const lines: string[] = [];
  await stagesCommand('pebble', { stages: 3, out, name: 'small' }, (line) => void lines.push(line));
  configs = lines.filter((l) => l.includes('wrangler deploy') && !l.includes('(once)')).map((l) => l.split('--config ')[1]);
});

test('every script of a model in stages passes the dry run, within its size, bound to the others and of one build', async () => {
  // stages first: what binds them comes last
  expect(configs.map((path) => dirname(path).split('/').at(-1))).toEqual([
    'small-stage-1',
    'small-stage-2',
    'small-state',
    'small-replica',
    'small',
  ]);
  const builds = new Set<string>();
  const dry = configs.map(async (path) => {
    const folder = join(out, 'built', dirname(path).split('/').at(-1) as string);
    const args = [wrangler, 'deploy', '--dry-run', '--config', path, '--outdir', folder];
    const { stdout } = await run(process.execPath, args, { cwd: ROOT, env });
    const files = readdirSync(folder).filter((f) => !f.endsWith('.map'));
    expect(files.reduce((n, f) => n + statSync(join(folder, f)).size, 0)).toBeLessThan(LIMIT_MIB * 2 ** 20);
    const code = files.filter((f) => f.endsWith('.js')).map((f) => readFileSync(join(folder, f), 'utf8'));
    for (const [, id] of code.join().matchAll(/"([0-9a-f]{16})"/g)) builds.add(id);
    return stdout;
  });
  const [first, , state, replica, routes] = await Promise.all(dry);
  expect(builds.size).toBe(1);
  for (const said of [state, routes]) expect(said).toMatch(/env\.REPLICA \(Replica, defined in small-replica\)/);
  for (const said of [replica, routes]) expect(said).toMatch(/env\.SESSION \(Session, defined in small-state\)/);
  // kernels are where they compute, and nowhere else
  const modules = (script: string) => readdirSync(join(out, 'built', script)).filter((f) => f.endsWith('.wasm')).length;
  expect([modules('small'), modules('small-state')]).toEqual([0, 0]);
  expect(modules('small-replica')).toBeGreaterThan(0);
  expect(first).toContain('env.STAGE');
  for (const n of [1, 2]) expect(replica).toMatch(new RegExp(`env\\.STAGE_${n} \\(Stage, defined in small-stage-${n}\\)`));
  expect(replica).toContain('env.STAGES');
});

test('the same files run here together, and answer', async () => {
  const state = join(out, 'state');
  const bucket = new Miniflare({
    ...{ modules: true, script: 'export default {}', r2Buckets: { PACKS: 'turnstone-packs' }, r2Persist: join(state, 'v3/r2') },
    ...{ cf: false, log: new Log(LogLevel.ERROR) },
  });
  await uploadPack(await bucket.getR2Bucket('PACKS'), await localPack(undefined, () => {}));
  await bucket.dispose();
  const [first, ...others] = [...configs].reverse();
  const args = ['dev', ...[first, ...others].flatMap((c) => ['--config', c]), '--port', '0', '--persist-to', state, '--var', 'PUBLIC:1'];
  const dev = spawn(process.execPath, [wrangler, ...args], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] });
  const gone = new Promise((resolve) => dev.on('close', resolve));
  try {
    let said = '';
    const url = await new Promise<string>((resolve, reject) => {
      dev.stdout.on('data', (d: Buffer) => {
        said += d;
        const at = /Ready on (http:\/\/\S+)/.exec(said);
        if (at) resolve(at[1]);
      });
      void gone.then(() => reject(new Error(`wrangler dev ended:\n${said}`)));
    });
    const body = { model: 'pebble', messages: [{ role: 'user', content: 'Who are you?' }], temperature: 0 };
    const ask = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const answer = (await (await fetch(`${url}/v1/chat/completions`, ask)).json()) as { choices?: { message: { content: string } }[] };
    expect(answer.choices?.[0].message.content, JSON.stringify(answer)).toBe('I am Pebble, a small language model.');
    const stored = { ...ask, body: JSON.stringify({ model: 'pebble', input: 'Who are you?', temperature: 0 }) };
    const { id } = (await (await fetch(`${url}/v1/responses`, stored)).json()) as { id: string };
    const again = (await (await fetch(`${url}/v1/responses/${id}`)).json()) as { output: { content: { text: string }[] }[] };
    expect(again.output[0].content[0].text).toBe('I am Pebble, a small language model.');
  } finally {
    dev.kill('SIGTERM');
    await gone;
  }
});
