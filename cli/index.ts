#!/usr/bin/env node
import { Command } from 'commander';
import { startCommand } from './commands/start.ts';

const program = new Command('turnstone').description('Serves language models from the edge.').showHelpAfterError();

program
  .command('start')
  .description('serve a model on this machine: the Worker and its Durable Objects in workerd')
  .addHelpText(
    'after',
    `
Environment:
  PORT        port to listen on (8787)
  HOST        address to listen on (127.0.0.1); beyond loopback API_KEYS is required
  MODEL       pack folder, GGUF file or Hugging Face folder (the shipped model)
  FORMAT      w4, w8 or f32: kernel format that MODEL is packed in (auto)
  KV          f32 turns the int8 KV cache off
  MEMORY_MB   what the isolate may hold (128)
  CONTEXT     longest sequence in tokens (the model's own)
  API_KEYS    comma-separated keys, each "key" or "name:key" (none: everybody may)
  NPU         auto, npu or local: where prefill runs; 0 leaves the simulated accelerator out (auto)
  NPU_DEVICE  maia-200, maia-100 or edge-npu
  SPECULATE   0 turns prompt-lookup speculation off`,
  )
  .action(startCommand);

await program.parseAsync();
