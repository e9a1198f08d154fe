/** Over HTTP, against the server that `npm start` runs. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';
import { type Server, startServer } from '../../cli/start.ts';
import { randomIds } from '../engine/runner.ts';
import { complete, rate, type Stream } from '../http.ts';
import { isolateMemory } from '../isolate.ts';
import { packOf, randomModel } from '../model.ts';
import { resident, workerds } from '../process.ts';
import type { Bench, Figure } from '../report.ts';
import { absent, azure } from '../simulate/traces.ts';
import { median, quantile, spread } from '../stats.ts';

const VOCAB = 49152;
let seed = 90_000;
const prompt = (n: number, vocab = VOCAB): number[] => randomIds(n, vocab, seed++);

/** A server with storage of its own, on a free port, once all its processes compute. */
export async function isolated<T>(
  model: string | undefined,
  vars: Record<string, string>,
  use: (s: Server, restart: () => Promise<Server>) => Promise<T>,
  processes = 1,
): Promise<T> {
  const persist = mkdtempSync(join(tmpdir(), 'turnstone-bench-'));
  const start = () => startServer({ port: 0, model, persist, processes, vars, inspect: true });
  let server = await start();
  try {
    await server.whole;
    return await use(server, async () => {
      await server.stop();
      server = await start();
      return server;
    });
  } finally {
    await server.stop();
    rmSync(persist, { recursive: true, force: true });
  }
}

/** ms from a request to its first token, the first request that a fresh process sees: isolate, weights, prefill. */
export function coldStarts(bench: Bench, rounds: number): Promise<number[]> {
  return isolated(undefined, {}, async (server, restart) => {
    const times: number[] = [];
    for (let i = 0; i < rounds; i++) {
      const s = i === 0 ? server : await restart();
      times.push((await complete(s.url, s.pack.id, prompt(16, 4096), 2)).ttft);
      bench.progress(`first token of a fresh process: ${times[i].toFixed(0)} ms`);
    }
    return times;
  });
}

/** ms from `npm start`'s process to its first token, everything built and stored before. */
async function processStart(): Promise<number> {
  const from = performance.now();
  const child = spawn(process.execPath, ['--import', 'tsx', join(ROOT, 'cli/index.ts'), 'start'], {
    cwd: ROOT,
    env: { ...process.env, PORT: '8799', NPU: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await new Promise<void>((resolve, reject) => {
      child.stdout.on('data', (d: Buffer) => String(d).includes('Turnstone serves') && resolve());
      child.on('exit', (code) => reject(new Error(`npm start ended with ${code}`)));
    });
    await complete('http://127.0.0.1:8799', 'pebble', prompt(16, 4096), 2);
    return performance.now() - from;
  } finally {
    const gone = new Promise((resolve) => child.on('close', resolve));
    child.kill('SIGTERM');
    await gone;
  }
}

export interface Load {
  streams: Stream[];
  /** Requests that the queue turned away. */
  refused: number;
  ms: number;
}

/** `n` clients, each with `each` requests one after the other. */
export async function concurrent(server: Server, n: number, each: number, promptTokens: number, tokens: number): Promise<Load> {
  const from = performance.now();
  const streams: Stream[] = [];
  await Promise.all(
    Array.from({ length: n }, async () => {
      for (let i = 0; i < each; i++) streams.push(await complete(server.url, server.pack.id, prompt(promptTokens), tokens));
    }),
  );
  return { streams, refused: 0, ms: performance.now() - from };
}

/** ms that `n` streams of 40 sampled tokens take one after the other, and at once; a round that is not counted warms the server. */
export async function crowd(server: Server, n: number, rounds: number): Promise<{ alone: number[]; together: number[] }> {
  const one = async (seed: number) => {
    const body = {
      model: server.pack.id,
      prompt: 'Once upon a time',
      max_tokens: 40,
      temperature: 1,
      ignore_eos: true,
      stream: true,
      seed,
    };
    const headers = { 'content-type': 'application/json' };
    const r = await fetch(`${server.url}/v1/completions`, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!(await r.text()).endsWith('data: [DONE]\n\n')) throw new Error('a stream did not come to its end');
  };
  const alone: number[] = [];
  const together: number[] = [];
  for (let round = -1; round < rounds; round++) {
    const from = performance.now();
    for (let i = 0; i < n; i++) await one(i);
    const half = performance.now();
    await Promise.all(Array.from({ length: n }, (_, i) => one(i)));
    if (round < 0) continue;
    alone.push(half - from);
    together.push(performance.now() - half);
  }
  return { alone, together };
}

/** Requests at given times, whatever the answers do. */
async function open(server: Server, arrivals: readonly { at: number; prompt: number; output: number }[]): Promise<Load> {
  const from = performance.now();
  const streams: Stream[] = [];
  let refused = 0;
  await Promise.all(
    arrivals.map(async (a) => {
      await new Promise((resolve) => setTimeout(resolve, a.at));
      try {
        streams.push(await complete(server.url, server.pack.id, prompt(a.prompt), a.output));
      } catch (error) {
        if (!String(error).includes('answered 429')) throw error;
        refused++;
      }
    }),
  );
  return { streams, refused, ms: performance.now() - from };
}

function latencies(bench: Bench, name: string, { streams, refused, ms }: Load): void {
  const ttft = streams.map((s) => s.ttft);
  const gaps = streams.flatMap((s) => s.gaps);
  const tokens = streams.reduce((n, s) => n + s.tokens, 0);
  const note = refused > 0 ? `${refused} of ${streams.length + refused} turned away (429)` : '';
  const say = (values: number[]) => [0.5, 0.95, 0.99].map((q) => quantile(values, q).toFixed(1)).join(' / ');
  bench.figure({ name: `${name}: tokens of all`, unit: 'tokens/s', value: spread([(1000 * tokens) / ms]), note });
  bench.figure({ name: `${name}: TTFT`, unit: 'ms', value: spread(ttft), note: `p50 / p95 / p99 ${say(ttft)}` });
  if (gaps.length > 0)
    bench.figure({ name: `${name}: between tokens`, unit: 'ms', value: spread(gaps), note: `p50 / p95 / p99 ${say(gaps)}` });
}

export async function serving(bench: Bench): Promise<void> {
  bench.figure({
    name: 'shipped model: request to first token, fresh process',
    unit: 'ms',
    value: spread(await coldStarts(bench, bench.rounds)),
  });
  const starts: number[] = [];
  for (let i = 0; i < bench.rounds; i++) {
    starts.push(await processStart());
    bench.progress(`npm start to first token: ${starts[i].toFixed(0)} ms`);
  }
  bench.figure({ name: 'shipped model: process start to first token', unit: 'ms', value: spread(starts) });

  const gguf = await randomModel('smollm2-135m', 'Q4_0', bench.progress);
  await packOf(gguf, bench.progress);
  const before = new Set(workerds());
  await isolated(gguf, { SPECULATE: '0' }, async (server) => {
    const pid = workerds().find((p) => !before.has(p)) ?? 0;
    const empty = resident(pid).now;
    await complete(server.url, server.pack.id, prompt(4), 2);
    for (const n of [1, 4, 16]) {
      bench.progress(`${n} clients`);
      latencies(bench, `${n} clients, 64 + 64 tokens`, await concurrent(server, n, Math.max(1, Math.floor(8 / n)), 64, 64));
    }
    const random = arrivalTimes(24, 1000);
    bench.progress('Poisson arrivals');
    latencies(
      bench,
      'Poisson, 1/s, 64 + 32 tokens',
      await open(
        server,
        random.map((at) => ({ at, prompt: 64, output: 32 })),
      ),
    );
    const why = absent('azure');
    if (why) bench.note(`no Azure trace: ${why}`);
    else {
      // a slice of the trace, lengths cut to an eighth: this is one core with a small context
      const slice = azure().slice(100, 124);
      const short = (n: number, most: number) => Math.min(most, Math.max(4, Math.floor(n / 8)));
      bench.progress('Azure trace');
      latencies(
        bench,
        'Azure conversations (24 requests, lengths / 8)',
        await open(
          server,
          slice.map((r) => ({ at: (r.at - slice[0].at) * 4, prompt: short(r.prompt, 512), output: short(r.output, 64) })),
        ),
      );
    }
    for (const f of await replicaMemory(server, pid, empty)) bench.figure(f);
  });
}

/** Figures of a replica's memory once 2,000 tokens of context were used; the first is the isolate's, which the plan of 128 MB is about. */
export async function replicaMemory(server: Server, pid: number, empty: number): Promise<Figure[]> {
  await complete(server.url, server.pack.id, prompt(1900), 100);
  const { js, wasm } = await isolateMemory(server);
  const { now, peak } = resident(pid);
  return [
    {
      name: 'SmolLM2 shape, 2,000 tokens of context used: memory of the isolate',
      unit: 'MiB',
      value: spread([js + wasm]),
      limit: 128,
      note: `wasm memory ${wasm.toFixed(1)}, JavaScript's heap and buffers ${js.toFixed(1)}`,
    },
    {
      name: 'the same: resident memory of the whole workerd process',
      unit: 'MiB',
      value: spread([now]),
      note: `${empty.toFixed(0)} before the model, ${(now - empty).toFixed(0)} added; peak ${peak.toFixed(0)}`,
    },
  ];
}

/** n arrivals of a Poisson process, `gap` ms apart on average; the same every time. */
function arrivalTimes(n: number, gap: number): number[] {
  let at = 0;
  return randomIds(n, 2 ** 31, 5).map((x) => (at += -Math.log((x + 1) / 2 ** 31) * gap));
}

export interface Overhead {
  /** tokens/s over HTTP, one client. */
  http: number[];
  /** ms to the first token of 64 tokens that were not seen before. */
  ttft: number[];
  /** ms to the first token of 1,000 cached tokens and one new; and sixteen new. */
  cached: number[];
  cached16: number[];
  /** ms between tokens there. */
  step: number;
}

/** One client on the SmolLM2 shape; `beside` runs between, so that both see the same machine. */
export async function overhead(server: Server, rounds: number, beside: (round: number) => Promise<void>): Promise<Overhead> {
  const out: Overhead = { http: [], ttft: [], cached: [], cached16: [], step: 0 };
  const long = prompt(1000);
  const gaps: number[] = [];
  const ask = (ids: number[], tokens: number) => complete(server.url, server.pack.id, ids, tokens);
  await ask(long, 2);
  for (let round = -1; round < rounds; round++) {
    await beside(round);
    const s = await ask(prompt(64), 65);
    const c = await ask([...long, ...prompt(1)], 17);
    const d = await ask([...long, ...prompt(16)], 2);
    if (round < 0) continue;
    if (Math.min(c.cached, d.cached) < 980) throw new Error(`only ${Math.min(c.cached, d.cached)} of 1,000 prompt tokens were cached`);
    out.http.push(rate(s));
    out.ttft.push(s.ttft);
    out.cached.push(c.ttft);
    out.cached16.push(d.ttft);
    gaps.push(c.span / (c.tokens - 1));
  }
  out.step = median(gaps);
  return out;
}
