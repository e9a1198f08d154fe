/**
 * What long prompts do to somebody who reads: the time between pieces of a running stream while 20 long prompts arrive, with
 * the accelerator against without, in alternating turns of one run. With it there are two processes, the replica's workerd and the
 * accelerator's; without, the replica computes the prompts between its decode steps. Writes the table into docs/npu.md with --write.
 *
 *   npx tsx bench/npu/decode.ts [--prompts 20] [--tokens 1500] [--every 2500] [--rounds 1] [--note 'what else ran'] [--write]
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Server, startServer } from '../../cli/start.ts';
import { randomIds } from '../engine/runner.ts';
import { describeMachine, machine } from '../machine.ts';
import { digits, quantile } from '../stats.ts';

const { values: o } = parseArgs({
  options: {
    ...{ prompts: { type: 'string', default: '20' }, tokens: { type: 'string', default: '1500' } },
    ...{ every: { type: 'string', default: '2500' }, rounds: { type: 'string', default: '1' } },
    ...{ note: { type: 'string', default: '' }, write: { type: 'boolean', default: false } },
  },
});
const [prompts, tokens, every, rounds] = [Number(o.prompts), Number(o.tokens), Number(o.every), Number(o.rounds)];
const VOCAB = 4096;

const post = (server: Server, body: object, signal?: AbortSignal): Promise<Response> =>
  fetch(`${server.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: server.pack.id, temperature: 0, ignore_eos: true, ...body }),
    signal,
  });

/** Reads streams one after the other until `signal`; the times between their pieces are ms, kept from `since` on. */
async function read(server: Server, signal: AbortSignal, gaps: number[], since: () => boolean): Promise<void> {
  for (let i = 0; !signal.aborted; i++) {
    const r = await post(server, { prompt: randomIds(20, VOCAB, 7 + i), max_tokens: 1900, stream: true }, signal);
    if (!r.ok) throw new Error(`the stream: ${r.status}: ${await r.text()}`);
    let last = 0;
    for await (const _ of r.body as unknown as AsyncIterable<Uint8Array>) {
      const now = performance.now();
      if (last > 0 && since()) gaps.push(now - last);
      last = now;
    }
  }
}

interface Turn {
  gaps: number[];
  ttft: number[];
  onDevice: number;
  refused: number;
}

/** One turn: somebody reads, and after a second prompts arrive at even distances. `count` 0: nobody else comes for two seconds. */
async function turn(server: Server, count: number, seed: number): Promise<Turn> {
  const stop = new AbortController();
  const t: Turn = { gaps: [], ttft: [], onDevice: 0, refused: 0 };
  let counting = false;
  const reader = read(server, stop.signal, t.gaps, () => counting).catch((e: unknown) => {
    if (!stop.signal.aborted) throw e;
  });
  await sleep(1000);
  counting = true;
  const sent: Promise<void>[] = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    const body = { prompt: randomIds(tokens, VOCAB, seed * 1000 + i), max_tokens: 1, explain: true };
    const ask = (async () => {
      let r = await post(server, body);
      for (; r.status === 429; r = await post(server, body)) {
        t.refused++; // it comes again when it was told to, and its time goes on
        await sleep(1000 * Number(r.headers.get('retry-after') ?? 1));
      }
      if (!r.ok) throw new Error(`${r.status}: ${await r.text()}`);
      const { turnstone } = (await r.json()) as { turnstone?: { route: { place: string } } };
      t.ttft.push(performance.now() - began);
      if (turnstone?.route.place === 'npu') t.onDevice++;
    })();
    sent.push(ask);
    await sleep(every);
  }
  if (count === 0) await sleep(2000);
  await Promise.all(sent);
  counting = false;
  stop.abort();
  await reader;
  return t;
}

const folder = mkdtempSync(join(tmpdir(), 'turnstone-decode-'));
const before = machine();
const servers: Record<string, Server> = {};
const all: Record<string, Turn> = {};
try {
  servers['with the accelerator'] = await startServer({
    port: 0,
    npu: 'npu',
    persist: join(folder, 'npu'),
    vars: { NPU_WAIT_MS: '60000' },
  });
  servers.without = await startServer({ port: 0, persist: join(folder, 'local') });
  for (const server of Object.values(servers)) await (await post(server, { prompt: randomIds(tokens, VOCAB, 3), max_tokens: 20 })).text();
  for (let r = 0; r < rounds; r++) {
    const ways = Object.entries(servers).flatMap(([name, server]) => [
      [name, server, prompts] as const,
      ...(name === 'without' ? [['nobody else', server, 0] as const] : []),
    ]);
    for (const [name, server, count] of r % 2 ? ways.reverse() : ways) {
      const t = await turn(server, count, r + 1);
      const sum = (all[name] ??= { gaps: [], ttft: [], onDevice: 0, refused: 0 });
      sum.gaps.push(...t.gaps);
      sum.ttft.push(...t.ttft);
      sum.onDevice += t.onDevice;
      sum.refused += t.refused;
      console.log(`${name}: ${t.gaps.length} gaps, p95 ${digits(quantile(t.gaps, 0.95))} ms, ${t.refused} times told to come again`);
    }
  }
} finally {
  for (const s of Object.values(servers)) await s.stop();
  rmSync(folder, { recursive: true, force: true });
}

const row = ([name, t]: [string, Turn]): string => {
  const q = (v: number[], p: number): string => (v.length > 0 ? digits(quantile(v, p)) : '');
  const where = t.ttft.length > 0 ? `${t.onDevice} of ${t.ttft.length}` : '';
  return `| ${name} | ${q(t.gaps, 0.5)} | ${q(t.gaps, 0.95)} | ${q(t.gaps, 0.99)} | ${q(t.gaps, 1)} | ${t.gaps.length} | ${where} | ${q(t.ttft, 0.5)} | ${q(t.ttft, 0.95)} |`;
};
const order = ['nobody else', 'without', 'with the accelerator'];
const table = [
  '| | between pieces: p50, ms | p95 | p99 | longest | pieces | prompts on the device | their TTFT: p50, ms | p95 |',
  '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
  ...order.flatMap((name) => (all[name] ? [row([name, all[name]])] : [])),
].join('\n');
const about = `${prompts} prompts of ${tokens} tokens, one every ${every} ms, ${rounds === 1 ? 'one turn' : `${rounds} alternating turns`} each; ${describeMachine(before)}.${o.note ? ` ${o.note}` : ''}`;
console.log(`\n${table}\n\n${about}`);
if (o.write) {
  const docs = fileURLToPath(new URL('../../docs/npu.md', import.meta.url));
  const text = readFileSync(docs, 'utf8');
  const [from, to] = ['<!-- decode -->', '<!-- /decode -->'];
  const [a, b] = [text.indexOf(from), text.indexOf(to)];
  if (a < 0 || b < a) throw new Error(`docs/npu.md lacks ${from} … ${to}`);
  writeFileSync(docs, `${text.slice(0, a + from.length)}\n\n${table}\n\n${about}\n\n${text.slice(b)}`);
}
