/** A model that is larger than an isolate: in stages of 128 MB, in one isolate with more memory, and in llama.cpp with one thread and with two. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Server, startServer } from '../../cli/start.ts';
import { start, useClock } from '../clock.ts';
import { inWorkerd } from '../contenders.ts';
import { randomIds } from '../engine/runner.ts';
import { complete, rate } from '../http.ts';
import { packOf } from '../model.ts';
import { installPeers } from '../peers/install.ts';
import { LlamaPeer } from '../peers/llama.ts';
import { workerds } from '../process.ts';
import { REAL_MODELS, realModel } from '../real-models.ts';
import type { Bench } from '../report.ts';
import { alternate, quantile, spread } from '../stats.ts';
import type { BenchWorker } from '../workerd/host.ts';

const VOCAB = 151_936;
const PROMPT = 1000;
const [STREAMS, TOKENS] = [8, 16];
const DECODED = 32;
/** What a hop is measured with: calls in a row, how often, and bytes: the activations of a token of Qwen2.5-0.5B, and of the most that go at once. */
const [HOP_CALLS, HOP_ROUNDS] = [20, 100];
const HOP_BYTES = { '3.5 KB': 3584, '112 KB': 32 * 3584 };
let seed = 500_000;
const CROWDS = 900_000;
const fresh = (n: number, vocab = VOCAB): number[] => randomIds(n, vocab, seed++);

const STAGED = 'in stages';
const FACETS = 'in facets';
const ONE = 'one isolate';

export async function stages(bench: Bench, worker: BenchWorker): Promise<void> {
  const { path, missing } = realModel('qwen-coder');
  if (missing) {
    bench.note(`Not measured: ${missing}.`);
    return;
  }
  installPeers(bench.progress);
  bench.note(
    `${REAL_MODELS['qwen-coder'].name}, over HTTP from the server that \`npm start\` runs: in stages of 128 MB each, a process each, and in one isolate of ` +
      '1,024 MB; speculation off. llama.cpp is node-llama-cpp in this process. Always the clock on the wall.',
  );
  const vars = { SPECULATE: '0', MAX_BATCH: String(STREAMS) };
  const servers = {
    [STAGED]: await serve(path, vars, bench.progress),
    [FACETS]: await serve(path, vars, bench.progress, undefined, 'facets'),
    [ONE]: await serve(path, { ...vars, MEMORY_MB: '1024' }, bench.progress, 1),
  };
  const peers = Object.fromEntries(
    await Promise.all([1, 2].map(async (threads) => [llama(threads), await LlamaPeer.open(path, { context: 2048, threads })] as const)),
  );
  try {
    await compare(bench, servers, peers);
  } finally {
    for (const peer of Object.values(peers)) await peer.close();
    for (const s of Object.values(servers)) await s.stop();
  }
  await hops(bench);
  await steps(bench, worker, path);
}

/** What a step of the model takes in one isolate, in processor time where there is one: what bench/simulate/stages.ts reckons with. */
async function steps(bench: Bench, worker: BenchWorker, path: string): Promise<void> {
  const clock = useClock(process.platform === 'linux' ? 'cpu' : 'wall');
  try {
    const pack = await packOf(path, bench.progress);
    await worker.upload(pack);
    await worker.load({ id: pack.id, context: 1024, sequences: 16 });
    const one = inWorkerd(worker);
    const runs: Record<string, (round: number) => Promise<number>> = {
      'a prompt of 128 tokens, a token': async () => (await one.prefill(fresh(128))) / 128,
    };
    for (const n of [1, 2, 4, 8, 16]) {
      runs[`a decode step of ${n}`] = async () =>
        (
          await one.batch(
            Array.from({ length: n }, () => fresh(16)),
            12,
          )
        ).ms / 12;
    }
    const taken = await alternate(runs, bench.rounds, { warm: true });
    for (const [what, value] of Object.entries(taken)) bench.figure({ name: `${what}, one isolate, processor time`, unit: 'ms', value });
  } finally {
    useClock(clock);
  }
}

const llama = (threads: number): string => `llama.cpp, ${threads} thread${threads > 1 ? 's' : ''}`;

async function compare(bench: Bench, servers: Record<string, Server>, peers: Record<string, LlamaPeer>): Promise<void> {
  const onRun = (name: string, round: number, value: number) => bench.progress(`${name}, round ${round + 1}: ${value.toFixed(1)} tokens/s`);
  const over = (ask: (s: Server) => Promise<number>) =>
    Object.fromEntries(Object.entries(servers).map(([name, s]) => [name, () => ask(s)]));
  const beside = (ask: (p: LlamaPeer) => Promise<number>) =>
    Object.fromEntries(Object.entries(peers).map(([name, p]) => [name, () => ask(p)]));
  const figures = async (what: string, runs: Record<string, () => Promise<number>>) => {
    const rates = await alternate(runs, bench.rounds, { warm: true, onRun });
    for (const [name, value] of Object.entries(rates)) bench.figure({ name: `${what}, ${name}`, unit: 'tokens/s', value });
    const against = (other: string) => rates[STAGED].median / rates[other].median;
    return { one: against(ONE), native: llama(1) in rates ? against(llama(1)) : undefined };
  };
  const short = fresh(16);
  const prefill = await figures(`prefill of ${PROMPT.toLocaleString('en-US')} tokens`, {
    ...over(async (s) => (1000 * PROMPT) / (await complete(s.url, s.pack.id, fresh(PROMPT), 1)).ttft),
    ...beside(async (p) => (1000 * PROMPT) / (await p.prefill(fresh(PROMPT)))),
  });
  const crowds = new Map<Server, number>();
  const crowd = async (s: Server) => {
    const crowd = crowds.get(s) ?? 0;
    crowds.set(s, crowd + 1);
    // the same of each server
    const prompts = Array.from({ length: STREAMS }, (_, i) => randomIds(16, VOCAB, CROWDS + crowd * STREAMS + i));
    return (await Promise.all(prompts.map((prompt) => complete(s.url, s.pack.id, prompt, TOKENS)))).reduce((n, x) => n + x.tokens, 0);
  };
  for (const s of Object.values(servers)) for (let n = 0; n < 3; n++) await crowd(s); // the scheduler tries out how many groups are best
  const together = await figures(`${STREAMS} streams of ${TOKENS} tokens`, {
    ...over(async (s) => {
      const from = performance.now();
      return (1000 * (await crowd(s))) / (performance.now() - from);
    }),
  });
  if (process.platform === 'linux') {
    // of all processes: how much of two cores' time is computed, and how much more in stages than in one isolate
    const computed = over((s) => spent(() => complete(s.url, s.pack.id, fresh(PROMPT), 1)));
    for (const [name, value] of Object.entries(await alternate(computed, bench.rounds)))
      bench.figure({ name: `prefill of ${PROMPT} tokens, processor time, ${name}`, unit: 'ms', value });
    for (const [name, value] of Object.entries(
      await alternate(
        over((s) => spent(() => crowd(s))),
        bench.rounds,
      ),
    ))
      bench.figure({ name: `${STREAMS} streams of ${TOKENS} tokens, processor time, ${name}`, unit: 'ms', value });
  }
  const decode = await figures('decode of one stream', {
    ...over(async (s) => rate(await complete(s.url, s.pack.id, fresh(16), DECODED))),
    ...beside(async (p) => (1000 * DECODED) / (await p.decode(short, DECODED))),
  });
  bench.target({ name: `prefill of ${PROMPT} tokens in stages against one isolate`, got: prefill.one, want: 1.7, unit: '×' });
  if (prefill.native) {
    bench.target({
      name: `prefill of ${PROMPT} tokens in stages against native llama.cpp, 1 thread`,
      got: prefill.native,
      want: 1.2,
      unit: '×',
    });
  }
  bench.target({ name: `${STREAMS} streams in stages against one isolate`, got: together.one, want: 1.6, unit: '×' });
  bench.target({ name: 'decode of one stream in stages against one isolate', got: decode.one, want: 0.85, unit: '×' });
}

/** ms that all Workers' processes were on a processor meanwhile. */
async function spent(work: () => Promise<unknown>): Promise<number> {
  const clock = useClock('cpu');
  const since = start(workerds());
  useClock(clock);
  await work();
  return since();
}

/** What a hop costs: calls to a stage that computes nothing, with the bytes of a token's activations; many in a row, since a runtime's clock is coarse. */
async function hops(bench: Bench): Promise<void> {
  const s = await serve(undefined, {}, bench.progress, 2);
  try {
    const each: Record<string, number[]> = {};
    for (let round = -20; round < HOP_ROUNDS; round++) {
      for (const [name, bytes] of Object.entries(HOP_BYTES)) {
        // nobody opened it under that name: it answers at once
        const args = ['nobody', { op: 'head', x: 'x'.repeat(bytes) }];
        const time = (times: number) => s.objects.timed('STAGE_1', 'stage-1', 'call', args, times);
        const [one, many] = [await time(1), await time(1 + HOP_CALLS)];
        if (round >= 0) (each[name] ??= []).push((many - one) / HOP_CALLS);
      }
    }
    for (const [name, ms] of Object.entries(each)) {
      const note = `p50 / p95 of ${HOP_ROUNDS} times ${HOP_CALLS} calls: ${[0.5, 0.95].map((q) => quantile(ms, q).toFixed(3)).join(' / ')}`;
      bench.figure({ name: `a hop: a call to a stage in a process of its own, with ${name}`, unit: 'ms', value: spread(ms), note });
    }
  } finally {
    await s.stop();
  }
}

/** A server with storage of its own, on a free port; it takes its storage along when it stops. */
async function serve(
  model: string | undefined,
  vars: Record<string, string>,
  say: (line: string) => void,
  stages?: number,
  stagesIn?: 'facets',
): Promise<Server> {
  const persist = mkdtempSync(join(tmpdir(), 'turnstone-bench-'));
  const server = await startServer({ port: 0, model, persist, vars, say, stages, stagesIn });
  await server.whole;
  return {
    ...server,
    stop: async (ms?: number) => {
      await server.stop(ms);
      rmSync(persist, { recursive: true, force: true });
    },
  };
}
