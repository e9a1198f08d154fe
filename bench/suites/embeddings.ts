/** Embeddings over HTTP: latency by number of texts, and what the embedder's process holds. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Embedder, launchEmbedder } from '../../cli/embedder.ts';
import { type Server, startServer } from '../../cli/start.ts';
import { openHome } from '../../cli/workerd/home.ts';
import { start } from '../clock.ts';
import { jsMemory } from '../isolate.ts';
import { resident } from '../process.ts';
import type { Bench } from '../report.ts';
import { quantile, spread } from '../stats.ts';

const RUNS = 40;
const MIB = 1 << 20;
const WORDS =
  'the lighthouse keeper wrote down every ship that passed and what the wind did to the sea while his daughter counted birds at low tide'.split(
    ' ',
  );

/** A text of 20 words, another one for each number. */
const text = (n: number): string => Array.from({ length: 20 }, (_, i) => WORDS[(i * ((n % 7) | 1) + n) % WORDS.length]).join(' ');

let texts = 0;

async function post(server: Server, body: object): Promise<{ usage: { total_tokens: number } }> {
  const headers = { 'content-type': 'application/json' };
  const r = await fetch(`${server.url}/v1/embeddings`, { method: 'POST', headers, body: JSON.stringify(body) });
  if (!r.ok) throw new Error(`${r.status}: ${await r.text()}`);
  return (await r.json()) as { usage: { total_tokens: number } };
}

/** Embeds n texts; answers how many tokens they had. */
async function embed(server: Server, n: number): Promise<number> {
  return (await post(server, { input: Array.from({ length: n }, () => text(texts++)), encoding_format: 'base64' })).usage.total_tokens;
}

export async function embeddings(bench: Bench): Promise<void> {
  const persist = mkdtempSync(join(tmpdir(), 'turnstone-bench-'));
  const server = await startServer({ port: 0, persist, embedder: {} });
  try {
    const name = await server.embedder?.start();
    const pid = server.embedder?.pid() ?? 0;
    const before = resident(pid).now;
    bench.figure({ name: 'resident, before the model', unit: 'MB', value: spread([before]) });
    const wall = performance.now();
    await embed(server, 1);
    const note = 'wall clock; ONNX Runtime is compiled, the model opened';
    bench.figure({ name: 'first text of a fresh process', unit: 'ms', value: spread([performance.now() - wall]), note });
    bench.figure({ name: `resident, with ${name}`, unit: 'MB', value: spread([resident(pid).now]), note: 'of the whole process' });

    for (let i = 0; i < 20; i++) await embed(server, 32); // V8's optimising compiler has seen it
    for (const n of [1, 8, 32]) {
      const times: number[] = [];
      let tokens = 0;
      for (let i = 0; i < RUNS; i++) {
        const end = start([pid]);
        tokens = await embed(server, n);
        times.push(end());
        bench.progress(`${n} texts: ${times.at(-1)?.toFixed(1)} ms`);
      }
      const of = `${n} ${n === 1 ? 'text' : 'texts'}`;
      bench.figure({ name: `${of}, p50`, unit: 'ms', value: spread(times), note: `${tokens} tokens, ${RUNS} requests` });
      bench.figure({ name: `${of}, p95`, unit: 'ms', value: spread([quantile(times, 0.95)]) });
    }
    await longest((body) => post(server, body));
    const { now, peak } = resident(pid);
    bench.figure({ name: 'resident, after the longest texts', unit: 'MB', value: spread([now]), note: `most ever ${peak.toFixed(0)} MB` });
  } finally {
    await server.stop();
  }
  await plan(bench);
  rmSync(persist, { recursive: true, force: true });
}

/** Texts of the model's full length, as ids. */
async function longest(ask: (body: object) => Promise<unknown>): Promise<void> {
  for (let k = 0; k < 3; k++) {
    const input = Array.from({ length: 4 }, (_, t) => Array.from({ length: 512 }, (_, i) => 2 + ((i * 37 + t * 11 + k) % 16_000)));
    await ask({ input, encoding_format: 'base64' });
  }
}

/** What an isolate planned and what it has, in a process of its own: V8 runs wasm slowly while its inspector is open. */
async function plan(bench: Bench): Promise<void> {
  const home = openHome();
  const embedder = launchEmbedder(home, { inspect: true }, Promise.resolve());
  await embedder.start();
  try {
    await longest(async ({ input }: { input?: unknown }) => {
      const body = JSON.stringify({ kind: 'embeddings', input, encodingFormat: 'base64' });
      await (await embedder.fetch(new Request('https://embedder/v1/embeddings', { method: 'POST', body }))).arrayBuffer();
    });
    await compare(bench, embedder);
  } finally {
    await embedder.stop();
    home.close();
  }
}

async function compare(bench: Bench, embedder: Embedder): Promise<void> {
  const answer = await embedder.fetch(new Request('https://embedder/ready'));
  const { memory } = (await answer.json()) as { memory: { limit: number; heap: number; file: number; js: number; measured: number } };
  const inspector = embedder.inspector();
  if (!inspector) throw new Error('the embedder has no inspector');
  const js = await jsMemory(inspector, 'embedder');
  const mb = (n: number) => spread([n / MIB]);
  bench.figure({
    name: "isolate: ONNX Runtime's memory, measured",
    unit: 'MiB',
    value: mb(memory.measured),
    limit: memory.heap / MIB,
    note: 'limit: planned',
  });
  bench.figure({
    name: 'isolate: all, planned',
    unit: 'MiB',
    value: mb(memory.heap + memory.file + memory.js),
    limit: memory.limit / MIB,
  });
  bench.figure({
    name: 'isolate: JavaScript, with garbage and buffers',
    unit: 'MiB',
    value: spread([js]),
    limit: (memory.js + memory.file) / MIB,
    note: "limit: planned, with the model's file",
  });
  bench.target({
    name: 'the isolate stays below its limit',
    got: memory.measured / MIB + js,
    want: memory.limit / MIB,
    most: true,
    unit: 'MiB',
  });
  bench.target({
    name: "ONNX Runtime's memory is within its plan",
    got: memory.measured / MIB,
    want: memory.heap / MIB,
    most: true,
    unit: 'MiB',
  });
}
