/**
 * Skills of the shipped model on held-out items (training/eval/*.jsonl) and perplexity, through Turnstone's own engine and wasm kernels:
 * one table over f32, w8, w4 to the nearest, w4 calibrated, w4 after quantization-aware training.
 *
 *   npx tsx bench/skills/index.ts [--columns f32,w8,...] [--limit 240] [--json FILE] [--model DIR|GGUF] [--no-free]
 *
 * `tools` and `json` are answered under the same masks that the HTTP API sets for `tools` and `response_format`; `(free)` is without.
 * With --json, columns that the file has already are kept, so that a run can be split.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { build } from '../../cli/build.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import { heldOutItems, reader } from './items.ts';
import { COLUMNS, type Column, load } from './models.ts';
import { heldOutStories, perplexity } from './perplexity.ts';

/** The seven whose mean is the model's score. */
const SEVEN = ['identity', 'reading', 'memory', 'tools', 'json', 'arithmetic', 'lists'];
/** Skills whose requests carry a schema or tools. */
const BOUND = ['tools', 'json'];
const PROMPTS = 'perplexity, held-out prompts';
const TEXT = 'perplexity, held-out stories';
const [WINDOW, WINDOWS] = [512, 24];

const { values: o } = parseArgs({
  options: {
    columns: { type: 'string', default: COLUMNS.join(',') },
    limit: { type: 'string', default: '240' },
    json: { type: 'string' },
    model: { type: 'string' },
    free: { type: 'boolean', default: true },
  },
  allowNegative: true,
});
const columns = o.columns.split(',').map((c) => {
  if (!COLUMNS.includes(c as Column)) throw new Error(`--columns ${c}: must be among ${COLUMNS.join(', ')}`);
  return c as Column;
});

type Scores = Record<string, number>;
const table: Partial<Record<Column, Scores>> = o.json && existsSync(o.json) ? JSON.parse(readFileSync(o.json, 'utf8')) : {};
await build(undefined, ['wasm']);
const sets = heldOutItems(Number(o.limit));
const stories = heldOutStories();
if (stories.missing) console.error(`no perplexity of stories: ${stories.missing}`);
for (const column of columns) {
  table[column] = await evaluate(column);
  if (o.json) writeFileSync(o.json, `${JSON.stringify(table, null, 1)}\n`);
}
print();

/** Percentages of right answers by skill, their mean over the seven, perplexities. */
async function evaluate(column: Column): Promise<Scores> {
  const loaded = await load(column, o.model);
  const kv = column === 'f32' ? 'f32' : 'i8';
  const r = reader(loaded, kv);
  const scores: Scores = {};
  const score = async (name: string, set: (typeof sets)[number], constrained: boolean) => {
    const ok = (await r.answer(set, constrained)).filter(Boolean).length;
    scores[name] = (100 * ok) / set.length;
    console.error(`${column} ${name}: ${ok} of ${set.length}`);
  };
  for (const set of sets) {
    const { skill } = set[0];
    await score(skill, set, BOUND.includes(skill));
    if (o.free && BOUND.includes(skill)) await score(`${skill} (free)`, set, false);
  }
  scores['mean of seven'] = mean((s) => s);
  if (o.free) scores['mean of seven (free)'] = mean((s) => (BOUND.includes(s) ? `${s} (free)` : s));
  scores[PROMPTS] = await perplexity(
    loaded,
    kv,
    sets.flatMap((set) => set.slice(0, 24).map((item) => r.prompt(item).slice(0, WINDOW))),
  );
  if (stories.text) {
    const ids = createTokenizer(loaded.model.tokenizer).encode(stories.text, { special: true, bos: false });
    const windows = Math.min(WINDOWS, Math.floor(ids.length / WINDOW));
    const sequences = Array.from({ length: windows }, (_, i) => [...ids.slice(i * WINDOW, (i + 1) * WINDOW)]);
    scores[TEXT] = await perplexity(loaded, kv, sequences);
  }
  await loaded.model.close();
  return scores;

  function mean(name: (skill: string) => string): number {
    return SEVEN.reduce((sum, s) => sum + scores[name(s)], 0) / SEVEN.length;
  }
}

function print(): void {
  const shown = COLUMNS.filter((c) => table[c]);
  const names = Object.keys(table[shown[0]] as Scores);
  const order = [...SEVEN.flatMap((s) => [s, `${s} (free)`]), 'mean of seven', 'mean of seven (free)'];
  const rank = (n: string) => (order.indexOf(n) + 1 || 99) + (n.startsWith('perplexity') ? 1 : 0);
  console.log(`| skill | ${shown.join(' | ')} |\n| --- |${shown.map(() => ' ---: |').join('')}`);
  for (const name of names.sort((a, b) => rank(a) - rank(b))) {
    const cell = (c: Column) => {
      const v = table[c]?.[name];
      return v === undefined ? '' : name.startsWith('perplexity') ? v.toFixed(2) : `${v.toFixed(1)} %`;
    };
    console.log(`| ${name} | ${shown.map(cell).join(' | ')} |`);
  }
}
