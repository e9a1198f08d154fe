import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Log, LogLevel, Miniflare } from 'miniflare';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { QUIET, ROOT } from '../../cli/build.ts';
import { deployCommand } from '../../cli/commands/deploy.ts';
import { stagesCommand } from '../../cli/commands/stages.ts';
import { readRecord } from '../../cli/deploy/record.ts';
import { embeddingPack } from '../../cli/embedder.ts';
import { localPack, uploadPack } from '../../cli/packs.ts';
import { runWrangler } from '../../cli/wrangler.ts';

const out = mkdtempSync(join(tmpdir(), 'turnstone-deploy-'));
afterAll(() => rmSync(out, { recursive: true, force: true }));

/** A Worker's limits, uncompressed and gzipped. */
const LIMIT_MIB = 64;

const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js');
const env = { ...process.env, ...QUIET };
/** Of each script, in the order in which they are deployed. */
let configs: string[];

/** What the command and wrangler said, of each script. */
let said: string;
const tried = new Map<string, string>();

beforeAll(async () => {
  const lines: string[] = [];
  await deployCommand(
    'pebble',
    { stages: 3, out, name: 'small', dryRun: true, analytics: true },
    (line) => void lines.push(line),
    async (args) => {
      const name = dirname(args.at(-1) as string)
        .split('/')
        .at(-1) as string;
      const answer = await runWrangler([...args, '--outdir', join(out, 'built', name)]);
      tried.set(name, answer);
      return answer;
    },
  );
  said = lines.join('\n');
  configs = readRecord(out)?.scripts.map((s) => s.path) ?? [];
});

test('the dry run says the plan and its price, and what each script weighs', () => {
  for (const name of tried.keys()) expect(said).toMatch(new RegExp(`  ${name}: Total Upload: [\\d.]+ KiB`));
  expect(said).toContain('in 3 isolates of 128 MB');
  expect(said).toContain('$0.017 an hour of computing'); // 3 × 0.128 GB × 3,600 s × $12.50 a million GB-s
  expect(said).toContain('Nothing was changed');
});

test('turnstone stages writes the same scripts without the encoder, and says in which order they go', async () => {
  const lines: string[] = [];
  const alone = join(out, 'alone');
  await stagesCommand('pebble', { stages: 3, out: alone, name: 'small' }, (line) => void lines.push(line));
  const said = lines.filter((l) => l.includes('wrangler deploy') && !l.includes('(once)')).map((l) => l.split('--config ')[1]);
  const named = (paths: string[]) => paths.map((path) => dirname(path).split('/').at(-1));
  expect(named(said)).toEqual(named(configs).filter((name) => name !== 'small-embedder'));
});

test('every script of a model in stages passes the dry run, within its size, bound to the others and of one build', () => {
  // stages first: what binds them comes last
  expect(configs.map((path) => dirname(path).split('/').at(-1))).toEqual([
    'small-stage-1',
    'small-stage-2',
    'small-embedder',
    'small-state',
    'small-replica',
    'small',
  ]);
  const builds = new Set<string>();
  for (const name of tried.keys()) {
    const folder = join(out, 'built', name);
    const files = readdirSync(folder).filter((f) => !f.endsWith('.map'));
    expect(files.reduce((n, f) => n + statSync(join(folder, f)).size, 0)).toBeLessThan(LIMIT_MIB * 2 ** 20);
    const code = files.filter((f) => f.endsWith('.js')).map((f) => readFileSync(join(folder, f), 'utf8'));
    for (const [, id] of code.join().matchAll(/"([0-9a-f]{16})"/g)) builds.add(id);
  }
  const [first, , , state, replica, routes] = tried.values();
  expect(builds.size).toBe(1);
  for (const said of [state, routes]) expect(said).toMatch(/env\.REPLICA \(Replica, defined in small-replica\)/);
  for (const said of [replica, routes]) expect(said).toMatch(/env\.SESSION \(Session, defined in small-state\)/);
  // kernels are where they compute, and nowhere else
  const modules = (script: string) => readdirSync(join(out, 'built', script)).filter((f) => f.endsWith('.wasm')).length;
  expect([modules('small'), modules('small-state')]).toEqual([0, 0]);
  expect(routes).toContain('env.EMBEDDER (small-embedder)');
  expect(routes).toMatch(/env\.FIGURES \(turnstone\) +Analytics Engine Dataset/);
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
  for (const pack of [await localPack(undefined, () => {}), embeddingPack(undefined)])
    await uploadPack(await bucket.getR2Bucket('PACKS'), pack);
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
    const embed = { ...ask, body: JSON.stringify({ model: 'dunlin', input: 'Who are you?' }) };
    const { data } = (await (await fetch(`${url}/v1/embeddings`, embed)).json()) as { data?: { embedding: number[] }[] };
    expect(data?.[0].embedding).toHaveLength(256);
    const stored = { ...ask, body: JSON.stringify({ model: 'pebble', input: 'Who are you?', temperature: 0 }) };
    const { id } = (await (await fetch(`${url}/v1/responses`, stored)).json()) as { id: string };
    const again = (await (await fetch(`${url}/v1/responses/${id}`)).json()) as { output: { content: { text: string }[] }[] };
    expect(again.output[0].content[0].text).toBe('I am Pebble, a small language model.');
  } finally {
    dev.kill('SIGTERM');
    await gone;
  }
});
