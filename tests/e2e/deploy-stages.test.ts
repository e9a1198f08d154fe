import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Apart, buildApart, type Script, startApart, workerOf } from '../../bench/apart.ts';
import { CROWDED, crowd } from '../../bench/isolates.ts';
import { stagesCommand } from '../../cli/commands/stages.ts';
import { embeddingPack } from '../../cli/embedder.ts';
import { localPack } from '../../cli/packs.ts';

const out = mkdtempSync(join(tmpdir(), 'turnstone-deploy-'));

/** A Worker's limits, uncompressed and gzipped. */
const LIMIT_MIB = 64;
/** An isolate's. */
const ISOLATE_MIB = 128;

/** In the order in which they are deployed. */
let scripts: Script[];
let configs: string[];

/** What the command and wrangler said, of each script. */
let said: string;
const tried = new Map<string, string>();

/** All of them together, as wrangler has built them from the files that were written. */
let apart: Apart;

beforeAll(async () => {
  const lines: string[] = [];
  scripts = await buildApart(
    'pebble',
    out,
    { stages: 3, analytics: true },
    (line) => void lines.push(line),
    (name, said) => void tried.set(name, said),
  );
  said = lines.join('\n');
  configs = scripts.map((s) => s.path);
});
afterAll(async () => {
  await apart?.stop();
  rmSync(out, { recursive: true, force: true });
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
  apart = await startApart(
    scripts.map((s) => workerOf(s, CROWDED)),
    [await localPack(undefined, () => {}), embeddingPack(undefined)],
  );
  const { url } = apart;
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
});

test('64 streams and 200 sessions at once: replica, sessions with queue, and routes each stay within an isolate', async () => {
  const held = await crowd(apart, 'pebble', ['small-replica', 'small-state', 'small'], 12);
  for (const { script, js, wasm } of held) {
    expect([script, js > 1]).toEqual([script, true]);
    expect(js + wasm, script).toBeLessThan(ISOLATE_MIB);
  }
  // what is in use of it is what the plan sets aside; the rest is V8's to collect
  const { memory } = (await (await fetch(`${apart.url}/ready`)).json()) as { memory: { js: number } };
  expect(await apart.inUse('small-replica')).toBeLessThan(memory.js / 2 ** 20);
});
