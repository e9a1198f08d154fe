/**
 * What routing costs on this host: the same prompts, one after the other, to a server that decides (NPU=auto) and to one that computes all
 * itself (NPU=local), in alternating turns; the shipped model, and the real ones that are here. Writes the table into docs/npu.md with --write.
 *
 *   npx tsx bench/npu/routes.ts [--prompts 12] [--only pebble,smollm2,qwen-coder] [--note 'what else ran'] [--write]
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Server, startServer } from '../../cli/start.ts';
import type { RouteReport } from '../../serving/run/npu.ts';
import { randomIds } from '../engine/runner.ts';
import { describeMachine, machine } from '../machine.ts';
import { type RealName, realModel } from '../real-models.ts';
import { digits, quantile } from '../stats.ts';

const { values: o } = parseArgs({
  options: {
    ...{ prompts: { type: 'string', default: '12' }, only: { type: 'string', default: 'pebble,smollm2,qwen-coder' } },
    ...{ note: { type: 'string', default: '' }, write: { type: 'boolean', default: false } },
  },
});
const count = Number(o.prompts);
const LENGTHS = [800, 300, 860, 500, 840, 640]; // tokens
const VOCAB = 4096;
const MEMORY_MB: Record<string, string> = { 'qwen-coder': '1500' };

async function ask(server: Server, n: number, seed: number): Promise<{ ms: number; route: RouteReport }> {
  const began = performance.now();
  const body = { model: server.pack.id, prompt: randomIds(n, VOCAB, seed), max_tokens: 1, temperature: 0, explain: true };
  const headers = { 'content-type': 'application/json' };
  const r = await fetch(`${server.url}/v1/completions`, { method: 'POST', headers, body: JSON.stringify(body) });
  if (!r.ok) throw new Error(`${r.status}: ${await r.text()}`);
  const { turnstone } = (await r.json()) as { turnstone: { route: RouteReport } };
  return { ms: performance.now() - began, route: turnstone.route };
}

const before = machine();
const folder = mkdtempSync(join(tmpdir(), 'turnstone-routes-'));
const rows: string[] = [];
try {
  for (const name of o.only.split(',')) {
    const file = name === 'pebble' ? undefined : realModel(name as RealName);
    if (file?.missing) {
      console.log(`${name}: ${file.missing}`);
      continue;
    }
    const servers: Record<'auto' | 'local', Server> = {} as never;
    for (const npu of ['auto', 'local'] as const) {
      const vars = { CONTEXT: '1024', ...(MEMORY_MB[name] && { MEMORY_MB: MEMORY_MB[name] }) };
      servers[npu] = await startServer({ port: 0, npu, model: file?.path, persist: join(folder, name + npu), vars });
    }
    try {
      for (const server of Object.values(servers)) await ask(server, 200, 1); // kernels are compiled
      const ms = { auto: [] as number[], local: [] as number[] };
      const routes: RouteReport[] = [];
      for (let i = 0; i < count; i++) {
        const ways = (['auto', 'local'] as const).toSorted(() => (i % 2 ? 1 : -1));
        for (const way of ways) {
          const { ms: took, route } = await ask(servers[way], LENGTHS[i % LENGTHS.length] - 10, 100 + i);
          ms[way].push(took);
          if (way === 'auto') {
            routes.push(route);
            console.log(`${name}: ${took.toFixed(0)} ms of ${ms.local.at(-1)?.toFixed(0)}: ${JSON.stringify(route)}`);
          }
        }
      }
      const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
      const ratio = quantile(
        ms.auto.map((t, i) => t / ms.local[i]),
        0.5,
      );
      const on = routes.filter((r) => r.place === 'npu').length;
      const { local, npu, device } = routes.at(-1)!.predicted;
      const of = (x: number | null) => (x === null ? '?' : digits(x));
      rows.push(
        `| ${name} | ${digits(sum(ms.auto))} | ${digits(sum(ms.local))} | ${digits(sum(ms.auto) / sum(ms.local))} | ${digits(ratio)} | ${on} of ${count} | ${of(local)} | ${of(npu)} | ${of(device)} |`,
      );
    } finally {
      for (const s of Object.values(servers)) await s.stop();
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const table = [
  '| model | all prompts, auto: ms | local: ms | ratio | median ratio of a prompt | on the accelerator | the last prompt, estimated: here, ms | simulated, ms | on a real device, ms |',
  '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
  ...rows,
].join('\n');
const about = `\`npx tsx bench/npu/routes.ts --prompts ${count}\`: prompts of ${Math.min(...LENGTHS)} to ${Math.max(...LENGTHS)} tokens; ${describeMachine(before)}.${o.note ? ` ${o.note}` : ''}`;
console.log(`\n${table}\n\n${about}`);
if (o.write) {
  const docs = fileURLToPath(new URL('../../docs/npu.md', import.meta.url));
  const text = readFileSync(docs, 'utf8');
  const [from, to] = ['<!-- routes -->', '<!-- /routes -->'];
  const [a, b] = [text.indexOf(from), text.indexOf(to)];
  if (a < 0 || b < a) throw new Error(`docs/npu.md lacks ${from} … ${to}`);
  writeFileSync(docs, `${text.slice(0, a + from.length)}\n\n${table}\n\n${about}\n\n${text.slice(b)}`);
}
