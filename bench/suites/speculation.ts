/** Prompt-lookup speculation on the model that ships: the same answers with and without, and how much sooner. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';
import { folderPack } from '../../models/node/files.ts';
import { loadTokenizer, openPack } from '../../models/pack/load.ts';
import { compileTemplate } from '../../models/template.ts';
import { randomIds } from '../engine/runner.ts';
import { packOf } from '../model.ts';
import type { Bench } from '../report.ts';
import { median, spread } from '../stats.ts';
import type { BenchWorker } from '../workerd/host.ts';

const SKILLS = ['json', 'lists', 'stories', 'reading', 'identity', 'arithmetic'] as const;
const REWRITING = /\b(replace|instead|change|swap|rewrite|sort|order|alphabet|reverse|backwards)\b/i;
const ITEMS = 12;
const MOST = 160; // tokens of an answer
const REPEATS = 5;
const WAYS = ['plain', 'speculating'] as const;
type Way = (typeof WAYS)[number];

interface Item {
  messages: { role: string; content: string }[];
}

/** Prompts as the chat API would make them. `rewriting` are the lists' items whose answer repeats their input. */
async function prompts(folder: string): Promise<{ groups: Map<string, number[][]>; stopIds: readonly number[] }> {
  const source = folderPack(folder);
  const { manifest } = await openPack(source);
  const tokenizer = await loadTokenizer(source, manifest);
  if (!manifest.chatTemplate) throw new Error('the shipped model has no chat template');
  const text = (id: number | undefined) => (id === undefined ? undefined : new TextDecoder().decode(tokenizer.bytesOf(id)));
  const template = compileTemplate(manifest.chatTemplate, { bos: text(tokenizer.bos), eos: text(tokenizer.eos) });
  const groups = new Map<string, number[][]>();
  for (const skill of SKILLS) {
    const lines = readFileSync(join(ROOT, 'training/eval', `${skill}.jsonl`), 'utf8')
      .trim()
      .split('\n');
    const items = lines.map((line) => JSON.parse(line) as Item).filter((i) => i.messages.every((m) => typeof m.content === 'string'));
    const wanted = skill === 'lists' ? items.filter((i) => REWRITING.test(i.messages.at(-1)!.content)) : items;
    const step = Math.max(1, Math.floor(wanted.length / ITEMS));
    groups.set(
      skill === 'json' ? 'extraction' : skill === 'lists' ? 'rewriting' : skill,
      wanted
        .filter((_, i) => i % step === 0)
        .slice(0, ITEMS)
        .map((i) => [
          ...tokenizer.encode(template.render({ messages: i.messages, addGenerationPrompt: true }), { special: true, bos: false }),
        ]),
    );
  }
  return { groups, stopIds: [...new Set([...tokenizer.stopIds, ...manifest.generation.stopIds])] };
}

/** What a step of several rows costs here, told to the engine that speculates. */
async function measureRows(worker: BenchWorker): Promise<void> {
  const steps = 64;
  for (let round = 0; round < 6; round++) {
    for (let rows = 1; rows <= 4; rows++) {
      const ids = Array.from({ length: rows }, (_, i) => randomIds(16, 4096, 1 + i + 10 * round));
      await worker.prefill({ prompts: ids, maxTokens: steps + 8 });
      const { ms } = await worker.decode(steps);
      await worker.drop();
      if (round > 1) await worker.measured({ ms, rows: Array(steps).fill(rows) }); // kernels are compiled by then
    }
  }
}

/** By group: how many times faster decoding is with speculation, and the same rates alone. Throws when a token differs. */
export async function speculation(bench: Bench, worker: BenchWorker): Promise<Map<string, number>> {
  const pack = await packOf(undefined, bench.progress);
  await worker.upload(pack);
  await worker.load({ id: pack.id, context: 1024, sequences: 4 });
  await worker.calibrate();
  await measureRows(worker);
  const { groups, stopIds } = await prompts(pack.folder);
  const ratios = new Map<string, number>();
  for (const [group, list] of groups) {
    // an answer takes a few ms: each is measured several times a round, and its middle counts; its prompt is cached by then
    const times: Record<Way, number[]> = { plain: [], speculating: [] };
    let tokens = 0;
    for (let round = 0; round < bench.rounds; round++) {
      const sum: Record<Way, number> = { plain: 0, speculating: 0 };
      tokens = 0;
      for (const [i, prompt] of list.entries()) {
        bench.progress(`speculation on ${group}, round ${round + 1}, answer ${i + 1} of ${list.length}`);
        const own: Record<Way, number[]> = { plain: [], speculating: [] };
        const outputs = new Set<string>();
        for (let repeat = 0; repeat < REPEATS; repeat++) {
          for (const way of WAYS) {
            const o = { prompts: [prompt], maxTokens: MOST, stopIds: [...stopIds], speculate: way === 'speculating' };
            const first = await worker.prefill(o); // of a cached prompt: one token, which may bring drafted ones along
            own[way].push(first.ms + (await worker.decode(MOST)).ms);
            const { output } = (await worker.drop()).value;
            outputs.add(output[0].join());
            if (repeat === 0 && way === 'plain') tokens += output[0].length;
          }
        }
        if (outputs.size > 1) throw new Error(`speculation changed an answer of ${group}`);
        for (const way of WAYS) sum[way] += median(own[way]);
      }
      for (const way of WAYS) times[way].push(sum[way]);
    }
    const ratio = median(times.plain) / median(times.speculating);
    ratios.set(group, ratio);
    for (const way of WAYS) {
      const value = spread(times[way].map((ms) => (1000 * tokens) / ms));
      bench.figure({
        name: `${group}, ${way}`,
        unit: 'tokens/s',
        value,
        note: way === 'plain' ? `${tokens} tokens` : `${ratio.toFixed(2)}×`,
      });
    }
  }
  return ratios;
}
