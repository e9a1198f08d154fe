/**
 * `npx tsx bench/answers.ts`: ten questions to SmolLM2-135M-Instruct, Turnstone's answers beside llama.cpp's on the same file, at the sampling
 * that the model's card recommends. Writes docs/answers.md.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../cli/build.ts';
import { localPack } from '../cli/packs.ts';
import { folderPack, nodeHasher } from '../models/node/files.ts';
import { createApp } from '../serving/app.ts';
import { inProcess } from '../serving/in-process.ts';
import { openModel, wasmMaker } from '../serving/run/open.ts';
import { chatPrompts, PROMPTS } from './compare/prompts.ts';
import { installPeers, PEERS } from './peers/install.ts';
import { LlamaPeer } from './peers/llama.ts';
import { REAL_MODELS, realModel } from './real-models.ts';

const QUESTIONS = PROMPTS.slice(0, 10);
/** huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct, "How to use". */
const CARD = { temperature: 0.2, top_p: 0.9, top_k: 0, min_p: 0 };
const TOKENS = 96;
const SEED = 1;

/** Turnstone's and llama.cpp's answers to the questions. */
async function answersOf(path: string): Promise<[ours: string, theirs: string][]> {
  const pack = await localPack(path, (line) => console.error(line));
  const module = new WebAssembly.Module(readFileSync(join(ROOT, '.build/wasm/turnstone-simd.wasm')));
  const runtime = await openModel({
    ...{ source: folderPack(pack.folder), id: 'smollm2', maker: wasmMaker({ simd: module }) },
    ...{ memoryBytes: 128 << 20, context: 256, hasher: nodeHasher },
  });
  const app = createApp(inProcess({ model: 'smollm2', runtime: async () => runtime, vars: { PUBLIC: '1' } }));
  const ours: string[] = [];
  for (const content of QUESTIONS) {
    const body = { model: 'smollm2', messages: [{ role: 'user', content }], max_tokens: TOKENS, seed: SEED, ...CARD };
    const headers = { 'content-type': 'application/json' };
    const response = await app.fetch(
      new Request('http://localhost/v1/chat/completions', { method: 'POST', headers, body: JSON.stringify(body) }),
    );
    const answer = (await response.json()) as { choices: { message: { content: string } }[] };
    ours.push(answer.choices[0].message.content);
  }
  const llama = await LlamaPeer.open(path, { context: 1024 });
  const theirs: string[] = [];
  const { tokenizer, stopIds } = runtime.served;
  for (const ids of (await chatPrompts(path)).slice(0, QUESTIONS.length)) {
    const out: number[] = [];
    for await (const id of llama.draw(ids, { temperature: CARD.temperature, topP: CARD.top_p, seed: SEED })) {
      if (stopIds.includes(id) || out.push(id) === TOKENS) break;
    }
    theirs.push(tokenizer.decode(out));
  }
  await llama.close();
  return ours.map((text, i) => [text, theirs[i]]);
}

/** The file in Q4_K_M, by llama.cpp's own function: there is no other source of the weights than the Q4_1 file. */
function inKQuants(path: string): string {
  const out = join(ROOT, '.cache/SmolLM2-135M-Instruct.Q4_K_M.gguf');
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  const made = spawnSync('python3', [join(PEERS, 'quantize.py'), path, out], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (made.status !== 0) throw new Error(`bench/peers/quantize.py ended with ${made.status}`);
  return out;
}

const cell = (text: string) =>
  text
    .trim()
    .replaceAll('|', '\\|')
    .replace(/\s*\n\s*/g, '<br>');
const table = (answers: readonly (readonly string[])[]) =>
  [
    '| question | Turnstone | llama.cpp |',
    '| --- | --- | --- |',
    ...answers.map(([a, b], i) => `| ${QUESTIONS[i]} | ${cell(a)} | ${cell(b)} |`),
  ].join('\n');

async function main(): Promise<void> {
  const { path, missing } = realModel('smollm2');
  if (missing) throw new Error(missing);
  installPeers((line) => console.error(line));
  const [own, k] = [await answersOf(path), await answersOf(inKQuants(path))];
  writeFileSync(
    join(ROOT, 'docs/answers.md'),
    `# Ten questions

${REAL_MODELS.smollm2.name} as Turnstone serves it (the file's numbers, int8 activations, int8 KV) beside
llama.cpp on the same file (node-llama-cpp, f16 KV), at the sampling of the model's card: temperature ${CARD.temperature}, top_p ${CARD.top_p}. Seed ${SEED} in both, whose
generators differ; ${TOKENS} tokens at most, cut there. What either says wrong is the model's: it has 135 M parameters. \`npx tsx bench/answers.ts\`, ${new Date().toISOString().slice(0, 10)}.

## Q4_1

\`${REAL_MODELS.smollm2.file}\`: one isolate of 128 MB, with 1,024 tokens of context.

${table(own)}

## Q4_K_M

Made of the Q4_1 file by llama.cpp's \`llama_model_quantize\` (\`bench/peers/quantize.py\`), so that it has the rounding of both. Rows of 576 numbers are no whole
K-blocks: most of it is Q5_0 and Q8_0, 99 MiB against 92. One isolate of 128 MB, with 272 tokens of context; 1,024 take two isolates.

${table(k)}
`,
  );
  process.exit(0); // llama.cpp keeps threads
}

await main();
