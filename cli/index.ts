#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { WEIGHT_FORMATS } from '../engine/formats.ts';
import type { BenchFlags } from './commands/bench.ts';
import type { DeployFlags } from './commands/deploy.ts';
import type { GpuHostFlags } from './commands/gpu-host.ts';
import type { PsFlags } from './commands/ps.ts';
import type { RunFlags } from './commands/run.ts';
import type { SimulateFlags } from './commands/simulate.ts';
import type { StagesFlags } from './commands/stages.ts';
import type { VerifyFlags } from './commands/verify.ts';
import { addCompletion } from './completion.ts';
import type { PackOptions } from './pack.ts';
import type { PackOnnxOptions } from './pack-onnx.ts';
import { settingFlags, settingsHelp, settingsOf } from './settings.ts';

type PackFlags = Omit<PackOptions, 'source'>;
type OnnxFlags = Omit<PackOnnxOptions, 'source'>;

process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1)); // `| head` has read enough

const VERSION = (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version;

const program = new Command('turnstone')
  .description('Serves language models from the edge.')
  .version(VERSION, '--version')
  .addHelpText('after', '\nExit codes: 0 done; 1 it could not be done, and the last line says why; 130 and 143 ended by Ctrl-C or SIGTERM.')
  .showHelpAfterError();

const start = program
  .command('start')
  .alias('serve')
  .description('serve a model on this machine: the Worker and its Durable Objects in workerd')
  .argument(
    '[model]',
    'a path, a name of the catalogue (see list), or hf:org/repo[@revision][:quant or file]; default: MODEL, else the shipped one',
  )
  .addHelpText(
    'after',
    () =>
      `\nEnvironment, and what is when a variable is not set:\n${settingsHelp()}\n\nAll but secrets are flags, too: --port 8080, --memory-mb 256.`,
  )
  .action(
    run(async (model: string | undefined, flags: Record<string, string>) =>
      (await import('./commands/start.ts')).startCommand(model, settingsOf(flags)),
    ),
  );
for (const flag of settingFlags()) start.addOption(flag);

program
  .command('run')
  .description('answer a prompt, or talk in the terminal; Ctrl-C stops an answer')
  .argument('[model]', 'as for start; with --url, a name that the server has')
  .argument('[prompt...]', 'without one: what is piped in, else a conversation; - at its end: what is piped in follows')
  .option('--url <url>', 'ask a server that runs already (its key in API_KEY) instead of starting one')
  .option('--system <text>', 'system prompt')
  .option('--temperature <n>', "default: the model's own", Number)
  .option('--max-tokens <n>', 'longest answer', Number)
  .option('--seed <n>', 'the same answer each time', Number)
  .option('--memory-mb <n>', 'what the isolate may hold (128)', Number)
  .option('--context <n>', 'longest conversation in tokens; default: what fits', Number)
  .option('--figures', 'tokens and times, on the error output')
  .option('--json', 'the whole answer as JSON')
  .action(
    run(async (model: string | undefined, prompt: string[], o: RunFlags) =>
      (await import('./commands/run.ts')).runCommand(model, prompt, o),
    ),
  );

program
  .command('pack')
  .description(
    'make a pack of a GGUF file or a Hugging Face folder, with a table of sizes and errors; or of a sentence encoder: ONNX, or the folder of sentence-transformers',
  )
  .argument('<source>', 'GGUF file, Hugging Face folder (of a sentence encoder, too), or model.onnx')
  .requiredOption('-o, --out <folder>', 'where the pack goes')
  .option(
    '--format <format>',
    'auto: the numbers that a quantized file has, w8 of halves; or f32, w8, w4, q4_1, q5_0, q5_1, q2_k to q6_k',
    'auto',
  )
  .option('--head <format>', 'format of the output head; default: as the others')
  .option('--chat-template <file>', "a Jinja template, instead of the model's own")
  .option('--tool-calls <dialect>', 'how the model writes tool calls, where its template does not tell')
  .option('--calibrate <text>', 'a text file: round by GPTQ on its tokens (w4, w8), or weigh columns by what they are multiplied by (q…)')
  .option('--tokens <n>', 'tokens of it to calibrate on', Number, 16_384)
  .option('--evaluate <text>', "a text file: its perplexity in the file's numbers, and as packed")
  .option('--name <name>', "the model's name in the API")
  .option('--lora <adapter>', 'merge a LoRA adapter: a folder of PEFT, or a GGUF adapter')
  .option('--lora-scale <x>', "times the adapter's own scale (1)", Number)
  .option('--tokenizer <file>', 'ONNX: its tokenizer.json; default: beside it or one folder up')
  .option('--pooling <kind>', 'ONNX: mean, cls or none; default: as its files say, else mean')
  .option('--output <name>', "ONNX: the graph's output to pool; default: last_hidden_state and its like")
  .option('--dimensions <list>', 'ONNX: Matryoshka: prefixes of a vector that may be asked for, such as 64,128')
  .option('--max-tokens <n>', 'ONNX: longest text; default: as its files say, else 512', Number)
  .option('--batch-tokens <n>', 'ONNX: padded tokens computed together', Number)
  .option('--no-normalize', 'ONNX: leave vectors at their own length')
  .option('--memory-mb <n>', 'ONNX: what the isolate may hold (128)', Number)
  .option('--json', 'as JSON')
  .action(run(async (source: string, o: PackFlags & OnnxFlags) => pack(source, o)));

program
  .command('adapters')
  .description('make LoRA adapters ready for a deployed server: the files that go into its bucket beside the pack')
  .argument('<model>', 'the base, as for start')
  .argument('<name=path...>', 'such as orders=./adapter: folders of PEFT or GGUF adapters')
  .requiredOption('-o, --out <folder>', 'where the files go')
  .action(
    run(async (model: string, pairs: string[], o: { out: string }) =>
      (await import('./commands/adapters.ts')).adaptersCommand(model, pairs, o.out),
    ),
  );

program
  .command('pack-into <source> <folder> <format>', { hidden: true })
  .description('what a server runs beside itself when a model is asked for that was not packed yet')
  .action(run(async (source: string, folder: string, format: string) => (await import('./packs.ts')).packInto(source, folder, format)));

program
  .command('inspect')
  .description('show a GGUF file, a safetensors file, a Hugging Face folder or a pack, whether it runs here and what it takes')
  .argument('<path>')
  .option('--memory-mb <n>', 'what an isolate may hold', Number, 128)
  .option('--json', 'the verdict alone, as JSON')
  .action(
    run(async (path: string, o: { json?: boolean; memoryMb: number }) =>
      (await import('./inspect.ts')).inspectCommand(path, console.log, o),
    ),
  );

program
  .command('stages')
  .description('how a model that is larger than an isolate is cut; with --out, the wrangler configuration of each of its scripts')
  .argument('<model>', 'as for start')
  .option('--stages <n>', 'isolates; default: as few as hold it', Number)
  .option('--context <n>', 'longest sequence in tokens; default: what fits, 2,048 at least', Number)
  .option('--max-batch <n>', 'sequences computed together', Number)
  .option('--memory-mb <n>', 'what an isolate may hold (128)', Number)
  .option('--kv <format>', 'i8, i8v4 or f32: format of the KV cache (i8)')
  .option('--adapters-mb <n>', 'for LoRA adapters, in each isolate (0)', Number)
  .option('--format <format>', 'as for start', 'auto')
  .option('-o, --out <folder>', 'writes a folder with a wrangler.toml for each script')
  .option('--name <name>', 'name of the Worker, which those of the stages begin with', 'turnstone')
  .option('--json', 'as JSON')
  .action(run(async (model: string, o: StagesFlags) => (await import('./commands/stages.ts')).stagesCommand(model, o)));

program
  .command('deploy')
  .description(
    'bring a model to your Cloudflare account: scripts, bucket, pack, a key; says first what it costs, and tries every script; goes back, removes',
  )
  .argument('[model]', 'as for start')
  .option('--name <name>', 'name of the Worker, which those of stages begin with', 'turnstone')
  .option('--dry-run', 'changes nothing')
  .option('--stages <n>', 'isolates; default: as few as hold it', Number)
  .option('--context <n>', 'longest sequence in tokens; default: what fits', Number)
  .option('--format <format>', 'as for start', 'auto')
  .option('--embed-model <folder>', 'an embedding pack; default: the shipped dunlin')
  .option('--no-embedder', 'without embeddings, a script of their own')
  .option('--analytics', 'figures of requests go to Analytics Engine, which the account must have enabled')
  .option('--var <pairs...>', 'settings, such as MAX_QUEUE=100; secrets are taken from the environment')
  .option('--rollback [deployment]', 'back to the deployment before, or the one that is named')
  .option('--remove', 'erases scripts, sessions and pack')
  .option('--yes', '--remove asks nothing')
  .option('-o, --out <folder>', 'where the configurations go; default: .wrangler/deploy/NAME')
  .option('--json', 'of a dry run: the plan as JSON')
  .action(run(async (model: string | undefined, o: DeployFlags) => (await import('./commands/deploy.ts')).deployCommand(model, o)));

program
  .command('simulate')
  .description('what prefill would cost on an accelerator: latency, bytes and breakdown, or a trace replayed over a fleet')
  .option('--model <shape>', 'pebble, smollm2-135m, qwen2.5-0.5b, llama-3-8b', 'smollm2-135m')
  .option('--device <name>', 'maia-200, maia-100, edge-npu or a JSON file', 'maia-200')
  .option('--prompt <tokens...>', 'prompt lengths', ['128', '1024', '8192'])
  .option('--batch <n>', 'prompts together', Number, 1)
  .option('--chips <n>', 'chips, tensor-parallel', Number, 1)
  .option('--numbers <format>', `what weights are: ${WEIGHT_FORMATS.join(', ')}, bf16 or fp8`, 'w4')
  .option('--trace <csv>', 'replay an Azure LLM inference trace instead')
  .option('--json', 'as JSON')
  .action(run(async (o: SimulateFlags) => (await import('./commands/simulate.ts')).simulateCommand(o)));

program
  .command('gpu-host')
  .description(
    "serve the API, and prefill for Workers, on this machine's GPU through WebGPU; stored responses are kept in memory and end with the process",
  )
  .option('--model <path>', 'pack folder, GGUF file or Hugging Face folder; default: the shipped model')
  .option('--port <n>', 'port to listen on', Number, 8790)
  .option('--host <address>', 'address to listen on; beyond loopback --secret is required', '127.0.0.1')
  .option(
    '--secret <text>',
    'lets Workers in at /v1/prefill, and beyond loopback is the key of the API (16 characters or more); default: GPU_SECRET',
  )
  .action(run(async (o: GpuHostFlags) => (await import('./commands/gpu-host.ts')).gpuHostCommand(o)));

program
  .command('pull')
  .description('bring a model by name: one of the catalogue (see list), or hf:org/repo[@revision][:quant or file]')
  .argument('<name>')
  .option('--memory-mb <n>', 'what an isolate may hold: a quantization that fits is chosen (128)', Number)
  .option('--json', 'as JSON')
  .addHelpText(
    'after',
    '\nHF_ENDPOINT names a mirror of the hub, HF_TOKEN opens gated and private repositories, TURNSTONE_CACHE is where models are kept.',
  )
  .action(
    run(
      async (name: string, o: { memoryMb?: number; json?: boolean }) =>
        void (await (await import('./commands/models.ts')).pullCommand(name, o)),
    ),
  );

program
  .command('list')
  .description('the models on this machine, and those of the catalogue')
  .option('--json', 'as JSON')
  .action(run(async (o: { json?: boolean }) => (await import('./commands/models.ts')).listCommand(o)));

program
  .command('ps')
  .description('what a running server has loaded and computes; its key in API_KEY')
  .option('--url <url>', 'where it listens', 'http://127.0.0.1:8787')
  .option('--json', 'as JSON')
  .action(run(async (o: PsFlags) => (await import('./commands/ps.ts')).psCommand(o)));

program
  .command('show')
  .description('what is known of a model: source, licence, place, files')
  .argument('<name>')
  .option('--json', 'as JSON')
  .action(run(async (name: string, o: { json?: boolean }) => (await import('./commands/models.ts')).showCommand(name, o)));

program
  .command('rm')
  .description('take models off this machine')
  .argument('[names...]')
  .option('--unfinished', 'downloads that were broken off')
  .action(run(async (names: string[], o: { unfinished?: boolean }) => (await import('./commands/models.ts')).rmCommand(names, o)));

program
  .command('init')
  .description('write a Worker of your own with the shipped model in it: a route, a page, a test')
  .argument('<folder>', 'a new folder; its name is the name of the Worker')
  .action(run(async (folder: string) => (await import('./commands/init.ts')).initCommand(folder)));

program
  .command('build')
  .description('build what is stale: the wasm kernels, the page, the Workers')
  .action(run(async () => (await import('./build.ts')).build((line) => console.log(line))));

program
  .command('bench')
  .description('tokens a second that a model reads and writes here, or at a server that runs already')
  .argument('[model]', 'as for start; with --url, a name that the server has')
  .option('--url <url>', 'a server that runs already (its key in API_KEY) instead of one of its own')
  .option('--prompt <n>', 'tokens of the prompt', Number, 512)
  .option('--tokens <n>', 'tokens that are written', Number, 64)
  .option('--rounds <n>', 'how often; the median is shown', Number, 3)
  .option('--memory-mb <n>', 'what the isolate may hold (128)', Number)
  .option('--json', 'as JSON')
  .action(run(async (model: string | undefined, o: BenchFlags) => (await import('./commands/bench.ts')).benchCommand(model, o)));

program
  .command('verify')
  .description('whether the shipped models are those that were published, by the list of their digests')
  .option('--key <file>', 'a public key (PEM) that the list must be signed with')
  .option('--json', 'as JSON')
  .action(run(async (o: VerifyFlags) => (await import('./commands/verify.ts')).verifyCommand(o)));

const workerd = program
  .command('workerd')
  .description("write the server as workerd's own configuration, and print the command that serves it without a launcher")
  .argument('[model]', 'as for start; it must fit one isolate')
  .requiredOption('--out <folder>', 'what is written: config.bin, with the keys in it, and state, for sessions and the queue')
  .addHelpText(
    'after',
    '\nSettings are those of start, as variables or flags. Nothing beside workerd runs: no accelerator, no embeddings, no other models, one process.',
  )
  .action(
    run(async (model: string | undefined, flags: Record<string, string>) =>
      (await import('./commands/workerd.ts')).workerdCommand(model, flags.out, settingsOf(flags)),
    ),
  );
for (const flag of settingFlags()) workerd.addOption(flag);

addCompletion(program);
await program.parseAsync();

async function pack(source: string, o: PackFlags & OnnxFlags): Promise<void> {
  const { encoderToOnnx, isEncoderFolder } = await import('./encoder.ts');
  const encoder = isEncoderFolder(source);
  if (!encoder && !/\.onnx$/i.test(source)) return (await import('./pack.ts')).packCommand({ source, ...o });
  const { packOnnx } = await import('./pack-onnx.ts');
  await packOnnx(encoder ? { ...o, source: join(source, 'model.onnx'), model: await encoderToOnnx(source) } : { source, ...o });
  process.exit(0); // ONNX Runtime keeps a handle
}

/** An action whose errors are told in a line; `DEBUG=1` shows where they come from. */
function run<A extends unknown[]>(action: (...args: A) => Promise<void>): (...args: A) => Promise<void> {
  return async (...args) => {
    try {
      await action(...args);
    } catch (error) {
      console.error(`turnstone: ${error instanceof Error ? error.message : error}`);
      if (process.env.DEBUG) console.error(error);
      process.exit(1);
    }
  };
}
