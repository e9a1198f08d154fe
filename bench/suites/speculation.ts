/** Prompt-lookup speculation on the model that ships, or on real ones: the same answers with and without, and how much sooner. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';
import { folderPack } from '../../models/node/files.ts';
import { loadTokenizer, openPack } from '../../models/pack/load.ts';
import { compileTemplate } from '../../models/template.ts';
import { randomIds } from '../engine/runner.ts';
import { packOf } from '../model.ts';
import { REAL_MODELS, type RealName, realModel } from '../real-models.ts';
import type { Bench } from '../report.ts';
import { median, spread } from '../stats.ts';
import type { BenchWorker } from '../workerd/host.ts';

const SKILLS = ['json', 'lists', 'stories', 'reading', 'identity', 'arithmetic', 'memory', 'tools', 'unknown'] as const;
/** What is measured: the skills, of which lists are two. */
export const TASKS = ['extraction', 'rewriting', 'lists', ...SKILLS.slice(2)] as const;
/** Tasks whose answers repeat their prompts; the others must lose nothing. */
const REPEATING: readonly string[] = ['extraction', 'rewriting'];
/** How many times faster an answer is wanted: where there is something to repeat, and elsewhere. */
export const wantedOf = (task: string): number => (REPEATING.includes(task) ? 1.4 : 0.98);
const REWRITING = /\b(replace|instead|change|swap|rewrite|sort|order|alphabet|reverse|backwards)\b/i;
/** Answers of a task, tokens of one at the most, and of one that repeats its prompt; how often it is asked for, and steps that tell what rows cost. */
interface Size {
  items: number;
  most: number;
  long: number;
  repeats: number;
  steps: number;
}
const SHIPPED: Size = { items: 12, most: 160, long: 160, repeats: 5, steps: 64 };
/** A token of a real model takes 20 to 100 times as long. */
const REAL: Size = { items: 2, most: 48, long: 128, repeats: 3, steps: 16 };
const WAYS = ['plain', 'speculating'] as const;
type Way = (typeof WAYS)[number];

interface Item {
  task?: string;
  messages: { role: string; content: string }[];
  tools?: Record<string, unknown>[];
}

const itemsOf = (file: string): Item[] =>
  readFileSync(join(ROOT, file), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Item);

/**
 * Prompts as the chat API would make them, by task. `rewriting` are the lists' items whose answer repeats their input; a real model is asked
 * to rewrite and to extract what people ask it for (bench/skills/long.jsonl), since sentences of ten words show nothing of it.
 */
async function prompts(
  folder: string,
  most: number,
  real: boolean,
): Promise<{ groups: Map<string, number[][]>; stopIds: readonly number[] }> {
  const source = folderPack(folder);
  const { manifest } = await openPack(source);
  const tokenizer = await loadTokenizer(source, manifest);
  if (!manifest.chatTemplate) throw new Error('the model has no chat template');
  const text = (id: number | undefined) => (id === undefined ? undefined : new TextDecoder().decode(tokenizer.bytesOf(id)));
  const template = compileTemplate(manifest.chatTemplate, { bos: text(tokenizer.bos), eos: text(tokenizer.eos) });
  const groups = new Map<string, number[][]>();
  const asked = ({ messages, tools }: Item) => template.render({ messages, tools, addGenerationPrompt: true });
  const encoded = (items: readonly Item[]) => items.map((i) => [...tokenizer.encode(asked(i), { special: true, bos: false })]);
  for (const skill of SKILLS) {
    const items = itemsOf(`training/eval/${skill}.jsonl`).filter((i) => i.messages.every((m) => typeof m.content === 'string'));
    const rewrites = (i: Item) => REWRITING.test(i.messages.at(-1)!.content);
    const tasks: Record<string, Item[]> =
      skill === 'lists'
        ? { rewriting: items.filter(rewrites), lists: items.filter((i) => !rewrites(i)) }
        : { [skill === 'json' ? 'extraction' : skill]: items };
    for (const [task, all] of Object.entries(tasks)) {
      const step = Math.max(1, Math.floor(all.length / most));
      groups.set(task, encoded(all.filter((_, i) => i % step === 0).slice(0, most)));
    }
  }
  const long = real ? itemsOf('bench/skills/long.jsonl') : [];
  for (const task of new Set(long.map((i) => i.task!))) groups.set(task, encoded(long.filter((i) => i.task === task)));
  return { groups, stopIds: [...new Set([...tokenizer.stopIds, ...manifest.generation.stopIds])] };
}

/** A token and the longest draft. An engine that drafted into a step of so many rows as were never measured waits until they are, and nobody else tells it here. */
const MOST_ROWS = 8;

/** What a step of several rows costs here, told to the engine that speculates. */
async function measureRows(worker: BenchWorker, steps: number): Promise<void> {
  for (let round = 0; round < 6; round++) {
    for (let rows = 1; rows <= MOST_ROWS; rows++) {
      const ids = Array.from({ length: rows }, (_, i) => randomIds(16, 4096, 1 + i + 10 * round));
      await worker.prefill({ prompts: ids, maxTokens: steps + 8 });
      const { ms } = await worker.decode(steps);
      await worker.drop();
      if (round > 1) await worker.measured({ ms, rows: Array(steps).fill(rows) }); // kernels are compiled by then
    }
  }
}

/** The tasks of the shipped model, or of those that are named alone, each held to what is wanted. */
export async function speculationTargets(bench: Bench, worker: BenchWorker): Promise<void> {
  for (const model of bench.only ?? ['pebble']) {
    const real = model === 'pebble' ? undefined : (model as RealName);
    if (real && !(real in REAL_MODELS))
      throw new Error(`--only: there is no ${real}; there are pebble, ${Object.keys(REAL_MODELS).join(', ')}`);
    const missing = real && realModel(real).missing;
    if (missing) {
      bench.note(`${REAL_MODELS[real].name}: skipped, ${missing}`);
      continue;
    }
    const name = real ? `${REAL_MODELS[real].name}: ` : '';
    for (const [task, ratio] of await speculation(bench, worker, real))
      bench.target({ name: `${name}speculation on ${task}`, got: ratio, want: wantedOf(task), unit: '×' });
  }
}

/** By task: how many times faster decoding is with speculation, and the same rates alone. Throws when a token differs. */
export async function speculation(bench: Bench, worker: BenchWorker, real?: RealName): Promise<Map<string, number>> {
  const size = real ? REAL : SHIPPED;
  const name = real ? `${REAL_MODELS[real].name}: ` : '';
  const pack = await packOf(real && realModel(real).path, bench.progress);
  await worker.upload(pack);
  await worker.load({ id: pack.id, context: 1024, sequences: MOST_ROWS, verify: false });
  await worker.calibrate();
  await measureRows(worker, size.steps);
  const { groups, stopIds } = await prompts(pack.folder, size.items, real !== undefined);
  const ratios = new Map<string, number>();
  for (const [group, list] of groups) {
    // an answer takes a few ms: each is measured several times a round, and its middle counts; its prompt is cached by then
    const times: Record<Way, number[]> = { plain: [], speculating: [] };
    let tokens = 0;
    const most = REPEATING.includes(group) ? size.long : size.most;
    for (let round = 0; round < bench.rounds; round++) {
      const sum: Record<Way, number> = { plain: 0, speculating: 0 };
      tokens = 0;
      for (const [i, prompt] of list.entries()) {
        bench.progress(`${name}speculation on ${group}, round ${round + 1}, answer ${i + 1} of ${list.length}`);
        const own: Record<Way, number[]> = { plain: [], speculating: [] };
        const outputs = new Set<string>();
        for (let repeat = 0; repeat < size.repeats; repeat++) {
          for (const way of WAYS) {
            const o = { prompts: [prompt], maxTokens: most, stopIds: [...stopIds], speculate: way === 'speculating' };
            const first = await worker.prefill(o); // of a cached prompt: one token, which may bring drafted ones along
            own[way].push(first.ms + (await worker.decode(most)).ms);
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
        name: `${name}${group}, ${way}`,
        unit: 'tokens/s',
        value,
        note: way === 'plain' ? `${tokens} tokens` : `${ratio.toFixed(2)}×`,
      });
    }
  }
  return ratios;
}
