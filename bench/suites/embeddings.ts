/** Embeddings over HTTP: latency by number of texts, and what the embedder's process holds. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Request } from 'miniflare';
import { type Server, startServer } from '../../cli/start.ts';
import { start } from '../clock.ts';
import { processes, resident } from '../process.ts';
import type { Bench } from '../report.ts';
import { quantile, spread } from '../stats.ts';

const RUNS = 40;
const WORDS =
  'the lighthouse keeper wrote down every ship that passed and what the wind did to the sea while his daughter counted birds at low tide'.split(
    ' ',
  );

/** A text of 20 words, another one for each number. */
const text = (n: number): string => Array.from({ length: 20 }, (_, i) => WORDS[(i * ((n % 7) | 1) + n) % WORDS.length]).join(' ');

let texts = 0;

async function embed(server: Server, n: number): Promise<number> {
  const r = await fetch(`${server.url}/v1/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ input: Array.from({ length: n }, () => text(texts++)), encoding_format: 'base64' }),
  });
  if (!r.ok) throw new Error(`${r.status}: ${await r.text()}`);
  return ((await r.json()) as { usage: { total_tokens: number } }).usage.total_tokens;
}

export async function embeddings(bench: Bench): Promise<void> {
  const persist = mkdtempSync(join(tmpdir(), 'turnstone-bench-'));
  const server = await startServer({ port: 0, persist, embedder: {} });
  try {
    const name = await server.embedder?.started;
    const [pid] = processes('workerd', server.embedder?.pid());
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
    await fullBatches(server);
    const { now, peak } = resident(pid);
    bench.figure({ name: 'resident, after the longest texts', unit: 'MB', value: spread([now]), note: `most ever ${peak.toFixed(0)} MB` });
    await plan(bench, server);
  } finally {
    await server.stop();
    rmSync(persist, { recursive: true, force: true });
  }
}

/** Texts of the model's full length, as ids. */
async function fullBatches(server: Server): Promise<void> {
  for (let k = 0; k < 3; k++) {
    const input = Array.from({ length: 4 }, (_, t) => Array.from({ length: 512 }, (_, i) => 2 + ((i * 37 + t * 11 + k) % 16_000)));
    const r = await fetch(`${server.url}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ input, encoding_format: 'base64' }),
    });
    if (!r.ok) throw new Error(`${r.status}: ${await r.text()}`);
    await r.arrayBuffer();
  }
}

/** What the Worker planned, and what ONNX Runtime's memory is really. */
async function plan(bench: Bench, server: Server): Promise<void> {
  if (!server.embedder) throw new Error('the server has no embedder');
  const answer = await server.embedder.fetch(new Request('https://embedder/ready'));
  const { memory } = (await answer.json()) as { memory: { limit: number; heap: number; file: number; js: number; measured: number } };
  const mb = (n: number) => spread([n / (1 << 20)]);
  bench.figure({
    name: "isolate: ONNX Runtime's memory, measured",
    unit: 'MiB',
    value: mb(memory.measured),
    limit: memory.heap / (1 << 20),
    note: 'limit: planned',
  });
  bench.figure({
    name: 'isolate: all, planned',
    unit: 'MiB',
    value: mb(memory.heap + memory.file + memory.js),
    limit: memory.limit / (1 << 20),
  });
  bench.target({
    name: "ONNX Runtime's memory is within its plan",
    got: memory.measured / (1 << 20),
    want: memory.heap / (1 << 20),
    most: true,
    unit: 'MiB',
  });
}
