/**
 * Skills of a chat model on held-out items (training/eval/*.jsonl), greedy, through Turnstone's own engine and wasm kernels.
 *
 *   npx tsx bench/skills/index.ts [--model DIR|GGUF|PACK] [--formats f32,w8,w4] [--limit 240] [--json FILE]
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { sha256 } from '@noble/hashes/sha2.js';
import { ROOT } from '../../cli/build.ts';
import { Engine, formatsOf, planMemory } from '../../engine/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { loadModel } from '../../models/model.ts';
import { nodeHasher, openModel } from '../../models/node/files.ts';
import { compileTemplate } from '../../models/template.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import { type Check, right } from './score.ts';

interface Item {
  skill: string;
  messages: Record<string, unknown>[];
  tools?: Record<string, unknown>[];
  check: Check;
}

/** The seven whose mean is the model's score. */
const SEVEN = ['identity', 'reading', 'memory', 'tools', 'json', 'arithmetic', 'lists'];
const MAX_TOKENS = 140;

const { values: o } = parseArgs({
  options: {
    model: { type: 'string', default: join(ROOT, 'models/pebble/hf') },
    formats: { type: 'string', default: 'f32,w8,w4' },
    limit: { type: 'string', default: '240' },
    json: { type: 'string' },
  },
});
const folder = join(ROOT, 'training/eval');
const items = readdirSync(folder)
  .filter((f) => f.endsWith('.jsonl'))
  .map((f) => readFileSync(join(folder, f), 'utf8').trim().split('\n').slice(0, Number(o.limit)));

const table: Record<string, Record<string, number>> = {};
for (const format of o.formats.split(',')) table[format] = await evaluate(format as 'f32' | 'w8' | 'w4');
print();
if (o.json) writeFileSync(o.json, `${JSON.stringify(table, null, 1)}\n`);

/** Share of right answers by skill, and their mean over the seven. */
async function evaluate(format: 'f32' | 'w8' | 'w4'): Promise<Record<string, number>> {
  const load = (name: string) => new WebAssembly.Module(readFileSync(join(ROOT, `.build/wasm/turnstone-${name}.wasm`)));
  const backend = createWasm({ modules: { simd: load('simd') }, memoryBytes: 256 << 20 });
  const model = await openModel(o.model);
  const tokenizer = createTokenizer(model.tokenizer);
  const { weights, digest } = await loadModel(model, backend, { format, hasher: nodeHasher });
  const { config } = model;
  const kv = format === 'f32' ? 'f32' : 'i8';
  const plan = planMemory({
    ...{ config, formats: formatsOf(weights), kv, weightBytes: 0, memoryBytes: 1 << 30, jsBytes: 0, measure: () => 0 },
    ...{ maxSequences: 32, pages: kv === 'f32' ? 1024 : 2048 },
  });
  const engine = new Engine({ backend, config, weights, plan, hash: sha256, pack: digest });
  const template = compileTemplate(model.chatTemplate ?? '', { bos: '', eos: '' });
  const scores: Record<string, number> = {};
  for (const lines of items) {
    const set = lines.map((l) => JSON.parse(l) as Item);
    const answers = new Map<string, number[]>();
    set.forEach((item, i) => {
      const text = template.render({ messages: item.messages, tools: item.tools, addGenerationPrompt: true });
      const prompt = tokenizer.encode(text, { special: true, bos: false });
      const sampling = { temperature: 0, topP: 1, topK: 0, minP: 0, repetition: 1, frequency: 0, presence: 0, minTokens: 0 };
      const maxTokens = Math.min(MAX_TOKENS, engine.maxPrompt + 1 - prompt.length);
      const stopIds = [...new Set([...tokenizer.stopIds, ...model.generation.stopIds])];
      engine.add({ id: `${i}`, prompt, maxTokens, stopIds, salt: '', sampling: { ...sampling, logitBias: [], seed: [0, 0] } });
    });
    while (engine.busy) {
      for (const e of await engine.step()) answers.set(e.request, [...(answers.get(e.request) ?? []), ...e.tokens.map((t) => t.id)]);
    }
    const ok = set.filter((item, i) => right(item.check, tokenizer.decode(answers.get(`${i}`) ?? [], { skipSpecial: true }))).length;
    scores[set[0].skill] = ok / set.length;
    process.stderr.write(`${format} ${set[0].skill}: ${ok} of ${set.length}\n`);
  }
  scores['mean of seven'] = SEVEN.reduce((sum, s) => sum + (scores[s] ?? 0), 0) / SEVEN.length;
  await model.close();
  return scores;
}

function print(): void {
  const formats = Object.keys(table);
  console.log(`| skill | ${formats.join(' | ')} |\n| --- |${formats.map(() => ' ---: |').join('')}`);
  for (const skill of Object.keys(table[formats[0]])) {
    console.log(`| ${skill} | ${formats.map((f) => `${(100 * table[f][skill]).toFixed(1)} %`).join(' | ')} |`);
  }
}
