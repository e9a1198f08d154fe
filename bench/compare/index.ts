/** `npm run compare`: llama.cpp and Turnstone on the same files; what llama.cpp said becomes the fixtures of tests/compare. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { ROOT } from '../../cli/build.ts';
import { familyShapes, publishedShapes, randomGguf } from '../../cli/random-gguf.ts';
import { table } from '../../cli/table.ts';
import { folderPack } from '../../models/node/files.ts';
import { loadTokenizer, openPack } from '../../models/pack/load.ts';
import { randomIds } from '../engine/runner.ts';
import { packOf, randomModel } from '../model.ts';
import { installPeers, PEERS } from '../peers/install.ts';
import { LlamaPeer } from '../peers/llama.ts';
import { REAL_MODELS, type RealName, realModel } from '../real-models.ts';
import { type Agreement, agreement } from './check.ts';
import { exportGguf } from './export.ts';
import { best, type Fixture, type Recorded } from './fixture.ts';
import { chatPrompts } from './prompts.ts';
import { Turnstone } from './turnstone.ts';

export interface Comparison {
  name: string;
  about: string;
  kv: Fixture['kv'];
  model: Fixture['model'];
  /** Takes gigabytes and minutes: done when it is named, and its file is removed afterwards. */
  big?: boolean;
  /** Why the model cannot be had. */
  missing?: string;
  /** Path of the file that both read. */
  file(): Promise<string>;
  prompts(): Promise<number[][]>;
  tokens: number;
  /** Log-probabilities are kept at every so many steps. */
  every: number;
}

/** Real models whose answers are compared. */
const COMPARED: readonly RealName[] = ['smollm2', 'qwen-coder', 'gemma3'];

const PEBBLE = 'models/pebble/hf';
const SKILLS = ['identity', 'arithmetic', 'lists', 'unknown', 'stories'];

/** A family by small random weights: 120 tokens of prompt, beyond every window. */
const ofFamily = (family: string, say: (line: string) => void): Comparison => ({
  name: family,
  about: `random weights of the family ${family}, f32`,
  kv: 'F32',
  model: { family, type: 'F32', seed: 1 },
  async file() {
    const path = join(ROOT, '.cache', `family-${family}.gguf`);
    say(`writing ${path}`);
    mkdirSync(join(ROOT, '.cache'), { recursive: true });
    const { config, keys } = familyShapes[family];
    await randomGguf(path, config, 'F32', 1, keys);
    return path;
  },
  prompts: async () => [randomIds(120, 2000, 4), randomIds(40, 2000, 5)],
  tokens: 16,
  every: 4,
});

/** A published shape with random weights in Q4_0; the file is removed afterwards. */
const ofPublished = (name: string, say: (line: string) => void): Comparison => {
  const { config, keys } = publishedShapes[name];
  return {
    name,
    about: `random weights in the shape of ${name}, Q4_0`,
    kv: 'F16',
    model: { published: name, type: 'Q4_0', seed: 1 },
    big: true,
    async file() {
      const path = join(ROOT, '.cache', `published-${name}.gguf`);
      if (existsSync(path)) return path;
      say(`writing ${path}`);
      mkdirSync(join(ROOT, '.cache'), { recursive: true });
      await randomGguf(path, config, 'Q4_0', 1, keys);
      return path;
    },
    prompts: async () => [randomIds(24, config.vocab, 6)],
    tokens: 8,
    every: 4,
  };
};

const comparisons = (say: (line: string) => void): Comparison[] => [
  {
    name: 'smollm2',
    about: 'random weights in the shape of SmolLM2-135M, Q4_0',
    kv: 'F16',
    model: { shape: 'smollm2-135m', type: 'Q4_0', seed: 1 },
    file: () => randomModel('smollm2-135m', 'Q4_0', say),
    prompts: async () => [randomIds(24, 49152, 1), randomIds(40, 49152, 2)],
    tokens: 16,
    every: 4,
  },
  {
    name: 'qwen',
    about: 'random weights in the shape of Qwen2.5-0.5B, Q4_0',
    kv: 'F16',
    model: { shape: 'qwen2.5-0.5b', type: 'Q4_0', seed: 1 },
    file: () => randomModel('qwen2.5-0.5b', 'Q4_0', say),
    prompts: async () => [randomIds(16, 151936, 3)],
    tokens: 8,
    every: 4,
  },
  ...Object.keys(familyShapes).map((family) => ofFamily(family, say)),
  ...Object.keys(publishedShapes).map((name) => ofPublished(name, say)),
  {
    name: 'pebble',
    about: 'the shipped model, f32',
    kv: 'F32',
    model: { folder: PEBBLE, sha256: digest(join(ROOT, PEBBLE, 'model.safetensors')) },
    file: async () => {
      const path = join(ROOT, '.cache/pebble-f32.gguf');
      mkdirSync(join(ROOT, '.cache'), { recursive: true });
      await exportGguf(join(ROOT, PEBBLE), path);
      return path;
    },
    prompts: () => pebblePrompts(say),
    tokens: 64,
    every: 32,
  },
  ...COMPARED.map((name): Comparison => {
    const { path, missing } = realModel(name);
    return {
      name: `real-${name}`,
      about: REAL_MODELS[name].name,
      kv: 'F16',
      model: { real: name, sha256: REAL_MODELS[name].sha256 },
      missing,
      file: async () => path,
      prompts: () => chatPrompts(path),
      tokens: 64,
      every: 16,
    };
  }),
  {
    name: 'real-smollm2-f32',
    about: `${REAL_MODELS.smollm2.name}, its weights as f32`,
    kv: 'F32',
    model: { real: 'smollm2', sha256: REAL_MODELS.smollm2.sha256, f32: true },
    missing: realModel('smollm2').missing,
    async file() {
      const path = join(ROOT, '.cache/smollm2-f32.gguf');
      mkdirSync(join(ROOT, '.cache'), { recursive: true });
      await exportGguf(realModel('smollm2').path, path);
      return path;
    },
    prompts: () => chatPrompts(realModel('smollm2').path),
    tokens: 64,
    every: 16,
  },
];

export const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

/** Twenty short questions of several skills, as the chat API would put them. */
async function pebblePrompts(say: (line: string) => void): Promise<number[][]> {
  const { folder } = await packOf(undefined, say);
  const source = folderPack(folder);
  const tokenizer = await loadTokenizer(source, (await openPack(source)).manifest);
  const out: number[][] = [];
  for (const skill of SKILLS) {
    const lines = readFileSync(join(ROOT, 'training/eval', `${skill}.jsonl`), 'utf8')
      .trim()
      .split('\n');
    const asked = lines.map((line) => (JSON.parse(line) as { messages: { content: string }[] }).messages.at(-1)!.content);
    const short = asked.filter((text) => text.length < 160);
    const step = Math.max(1, Math.floor(short.length / 4));
    for (const text of short.filter((_, i) => i % step === 0).slice(0, 4)) {
      out.push([...tokenizer.encode(`<|im_start|>user\n${text}<|im_end|>\n<|im_start|>assistant\n`, { special: true, bos: false })]);
    }
  }
  return out;
}

async function record(c: Comparison, version: string): Promise<Fixture> {
  const peer = await LlamaPeer.open(await c.file(), { context: 512, kv: c.kv, flash: c.kv === 'F32' ? false : undefined });
  try {
    const prompts: Recorded[] = [];
    for (const prompt of await c.prompts()) {
      const tokens: number[] = [];
      const scores: Recorded['scores'] = [];
      for (let step = 0; step < c.tokens; step++) {
        const top = best(await peer.logits([...prompt, ...tokens]));
        if (step % c.every === 0) scores.push({ step, top });
        tokens.push(top[0][0]);
      }
      prompts.push({ prompt, tokens, scores });
    }
    const { about, kv, model } = c;
    return { about, llama: `node-llama-cpp ${version}`, recorded: new Date().toISOString().slice(0, 10), model, kv, prompts };
  } finally {
    await peer.close();
  }
}

/** Numbers of a row stay on one line. */
const json = (f: Fixture): string => `${JSON.stringify(f, null, 1).replace(/\[[^[\]{}]*\]/g, (a) => a.replace(/\s+/g, ''))}\n`;

const program = new Command('npm run compare --')
  .description(
    'Runs llama.cpp (npm node-llama-cpp, installed on first use) and Turnstone on the same models, and records the results as fixtures.',
  )
  .argument(
    '[names...]',
    `${Object.keys(publishedShapes).join(', ')}; or smollm2, qwen, granite, smollm3, gemma3, lfm2, pebble, real-smollm2, real-smollm2-f32, real-qwen-coder, real-gemma3, which are done unless given`,
  )
  .option('--check', 'compare only, record nothing')
  .parse();

const say = (line: string) => console.error(line);
installPeers(say);
const { version } = JSON.parse(readFileSync(join(PEERS, 'node_modules/node-llama-cpp/package.json'), 'utf8')) as { version: string };
const rows: string[][] = [];
for (const c of comparisons(say)) {
  if (program.args.length > 0 ? !program.args.includes(c.name) : c.big) continue;
  if (c.missing) {
    say(`${c.name}: left out, ${c.missing}`);
    continue;
  }
  say(`${c.name}: llama.cpp …`);
  const fixture = await record(c, version);
  if (!program.opts<{ check?: boolean }>().check) writeFileSync(join(ROOT, 'tests/fixtures', `compare-${c.name}.json`), json(fixture));
  say(`${c.name}: Turnstone …`);
  for (const kv of ['i8', 'f32'] as const) {
    const ours = await Turnstone.open(await c.file(), { kv, context: 512, sequences: 20 });
    rows.push(row(c, kv, await agreement(ours, fixture, { greedy: true })));
  }
  if (c.big) rmSync(await c.file());
}
console.log(table(['model', 'KV', 'positions', 'log-probability: worst', 'rms', 'same greedy tokens', 'partings'], rows).join('\n'));
process.exit(0);

function row(c: Comparison, kv: string, a: Agreement): string[] {
  const partings = a.partings.map((p) => `prompt ${p.prompt} token ${p.step} gap ${p.gap.toExponential(1)}`);
  return [
    c.about,
    kv,
    String(a.positions),
    a.worst.toExponential(1) + (a.absent ? ` (${a.absent} absent)` : ''),
    a.rms.toExponential(1),
    `${a.same} of ${a.prompts}`,
    partings.slice(0, 3).join(', '),
  ];
}
