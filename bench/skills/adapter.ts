/**
 * What an adapter is for: held-out items asked over HTTP of the base and of the adapter, as `npm start` serves them, at temperature 0.
 *
 *   npx tsx bench/skills/adapter.ts --model smollm2.gguf --adapter ./adapter
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { ROOT } from '../../cli/build.ts';
import { startServer } from '../../cli/start.ts';
import { describeMachine, machine } from '../machine.ts';

interface Item {
  messages: object[];
  answer: string;
}

const program = new Command('tsx bench/skills/adapter.ts')
  .description(
    'Right answers to held-out items, by the base and with an adapter. An answer is right when it is the expected one, as JSON where both are.',
  )
  .option('--model <path>', 'the base', join(ROOT, 'models/pebble'))
  .option('--adapter <path>', "PEFT's folder or a GGUF adapter", join(ROOT, 'training/lora/orders-pebble'))
  .option(
    '--items <file>',
    'lines of messages and answer, as training/lora/orders.py writes them',
    join(ROOT, 'training/runs/orders/test.jsonl'),
  )
  .option('--limit <n>', 'items', Number, 100)
  .option('--clients <n>', 'that ask at once', Number, 4)
  .option('--memory-mb <n>', 'what the isolate may hold', Number, 128)
  .parse();
const o = program.opts<{ model: string; adapter: string; items: string; limit: number; clients: number; memoryMb: number }>();
if (!existsSync(o.items)) program.error(`there is no ${o.items}: python training/lora/orders.py writes it`);
const items = readFileSync(o.items, 'utf8')
  .split('\n')
  .filter(Boolean)
  .slice(0, o.limit)
  .map((line) => JSON.parse(line) as Item);

const folder = mkdtempSync(join(tmpdir(), 'turnstone-adapter-'));
const server = await startServer({
  ...{ port: 0, model: o.model, persist: folder, adapters: new Map([['tuned', o.adapter]]), vars: { MEMORY_MB: String(o.memoryMb) } },
});
try {
  console.log(describeMachine(machine()));
  for (const model of [server.pack.id, `${server.pack.id}:tuned`]) {
    const began = performance.now();
    const answers = await inTurn(items, o.clients, (item) => ask(model, item));
    const right = items.filter((item, i) => same(answers[i], item.answer)).length;
    console.log(`${model}: ${right} of ${items.length} right, ${((performance.now() - began) / 1000).toFixed(0)} s`);
    for (const i of [0, 1]) if (items[i]) console.log(`  expected ${items[i].answer}\n  answered ${JSON.stringify(answers[i])}`);
  }
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}

async function ask(model: string, { messages, answer }: Item): Promise<string> {
  const body = JSON.stringify({ model, messages, temperature: 0, max_tokens: Math.max(32, answer.length) });
  const r = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  if (!r.ok) throw new Error(`${model}: ${r.status} ${await r.text()}`);
  return ((await r.json()) as { choices: { message: { content: string } }[] }).choices[0].message.content;
}

function same(got: string, want: string): boolean {
  try {
    return canonical(JSON.parse(got)) === canonical(JSON.parse(want));
  } catch {
    return got.trim() === want.trim();
  }
}

/** JSON with the keys of objects in order. */
const canonical = (v: unknown): string =>
  JSON.stringify(v, (_, x: unknown) =>
    typeof x === 'object' && x !== null && !Array.isArray(x)
      ? Object.fromEntries(Object.entries(x).sort(([a], [b]) => (a < b ? -1 : 1)))
      : x,
  );

async function inTurn<T, R>(all: readonly T[], clients: number, work: (one: T) => Promise<R>): Promise<R[]> {
  const out = new Array<R>(all.length);
  let next = 0;
  const client = async () => {
    while (next < all.length) {
      const i = next++;
      out[i] = await work(all[i]);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return out;
}
