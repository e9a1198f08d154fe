/**
 * `npx tsx bench/isolates.ts [MODEL]`: what each isolate of a deployment holds, replica, sessions with queue, and routes, while 64 chats stream
 * and 200 sessions have a turn, all at once: the scripts that `turnstone deploy` writes, as wrangler builds them, in one workerd.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findModel } from '../cli/hub/find.ts';
import { localPack } from '../cli/packs.ts';
import { table } from '../cli/table.ts';
import { type Apart, buildApart, startApart, workerOf } from './apart.ts';

const MIB = 1 << 20;
const LOOK_MS = 100;
const STREAMS = 64;
const SESSIONS = 200;
/** Settings under which a crowd is let in: on a slow machine the queue would refuse who is to wait for long. */
export const CROWDED = { PUBLIC: '1', MAX_WAIT_S: '600' };

export interface Held {
  script: string;
  /** MiB at most that V8 held of it, and its wasm memory. */
  js: number;
  wasm: number;
}

/** Streams of so many tokens and stored turns of a third of that, at once. Answers what each script held at most meanwhile; throws when one of them does not come to its end. */
export async function crowd(apart: Apart, model: string, scripts: readonly string[], tokens: number): Promise<Held[]> {
  const post = (path: string, body: object) =>
    fetch(`${apart.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, ignore_eos: true, temperature: 0, stream: true, ...body }),
    });
  const one = async (path: string, body: object, end: string) => {
    const r = await post(path, body);
    const text = await r.text();
    if (!r.ok || !text.includes(end)) throw new Error(`${path} answered ${r.status}: ${text.slice(-300)}`);
  };
  await one('/v1/completions', { prompt: 'Once', max_tokens: 2 }, '[DONE]'); // loaded
  const { memory } = (await (await fetch(`${apart.url}/ready`)).json()) as { memory: Record<'weights' | 'kv' | 'scratch', number> };
  const most = new Map(scripts.map((script) => [script, 0]));
  const work = Promise.all([
    ...Array.from({ length: STREAMS }, (_, i) =>
      one('/v1/completions', { prompt: `Once there were ${i} of them`, max_tokens: tokens }, '[DONE]'),
    ),
    ...Array.from({ length: SESSIONS }, (_, i) =>
      one(
        '/v1/responses',
        { input: `Tell me about number ${i}, please.`, max_output_tokens: Math.ceil(tokens / 3) },
        'response.incomplete',
      ),
    ),
  ]);
  let over = false;
  const ends = work.finally(() => {
    over = true;
  });
  ends.catch(() => {});
  do {
    for (const script of scripts) most.set(script, Math.max(most.get(script) ?? 0, await apart.js(script)));
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  } while (!over);
  await ends;
  const wasm = (memory.weights + memory.kv + memory.scratch) / MIB;
  return scripts.map((script) => ({ script, js: most.get(script) ?? 0, wasm: script.endsWith('-replica') ? wasm : 0 }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const out = mkdtempSync(join(tmpdir(), 'turnstone-isolates-'));
  const [, , model] = process.argv;
  const found = await findModel(model, { memoryMb: 128 });
  const pack = await localPack(found?.path, console.error, undefined, found?.id);
  const scripts = (await buildApart(model, out)).filter((s) => !s.name.endsWith('-embedder'));
  const names = scripts.map((s) => s.name);
  const workers = scripts.map((s) => ({ ...workerOf(s, { ...CROWDED, LOG_REQUESTS: '0' }), serviceBindings: {} }));
  const apart = await startApart(workers, [pack]);
  const held = await crowd(apart, pack.id, names, 64);
  const inUse = new Map<string, number>();
  for (const name of names) inUse.set(name, await apart.inUse(name));
  await apart.stop();
  rmSync(out, { recursive: true, force: true });
  console.log(
    `${cpus()[0].model}, ${new Date().toISOString().slice(0, 10)}, ${pack.id}: ${STREAMS} streams and ${SESSIONS} sessions at once`,
  );
  const rows = held.map(({ script, js, wasm }) =>
    [script, js, inUse.get(script) ?? 0, wasm, js + wasm].map((v) => (typeof v === 'number' ? v.toFixed(1) : v)),
  );
  for (const line of table(['script', 'JavaScript, MiB', 'in use after it', 'wasm, MiB', 'together, of 128'], rows)) console.log(line);
  process.exit(0);
}
