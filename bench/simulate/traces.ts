import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Tokens a block of the Mooncake trace stands for. */
export const BLOCK_TOKENS = 512;

export interface TraceRequest {
  /** ms from the trace's start. */
  at: number;
  prompt: number;
  output: number;
  /** Ids of the prompt's whole blocks of 512 tokens: equal ids are equal beginnings. Empty when the trace has none. */
  blocks: readonly number[];
  tenant: string;
}

const folder = new URL('../../../shared/data/traces/', import.meta.url);
const pathOf = (name: string) => fileURLToPath(new URL(name, folder));

/** Why a trace cannot be read, or undefined when it can. */
export function absent(name: 'azure' | 'mooncake'): string | undefined {
  const path = pathOf(FILES[name]);
  if (!existsSync(path)) return `${path} is not there`;
  if (name === 'mooncake' && spawnSync('xz', ['--version']).status !== 0) return 'the program xz, which unpacks the trace, is not there';
  return undefined;
}

const FILES = { azure: 'AzureLLMInferenceTrace_conv.csv', mooncake: 'mooncake_conversation_trace.jsonl.xz' };

/** Azure's LLM inference trace 2023, conversations: arrival, prompt and answer lengths. No tenants, no text, no reuse to be seen. */
export function azure(): TraceRequest[] {
  const rows = readFileSync(pathOf(FILES.azure), 'utf8').trim().split('\n').slice(1);
  const list = rows.map((row) => {
    const [time, prompt, output] = row.split(',');
    return {
      at: Date.parse(`${time!.replace(' ', 'T').slice(0, 23)}Z`),
      prompt: Number(prompt),
      output: Math.max(1, Number(output)),
      blocks: [],
      tenant: 'azure',
    };
  });
  const start = list[0]!.at;
  for (const r of list) r.at -= start;
  return list;
}

/** Mooncake's conversation trace (FAST'25): the same, with a hash for each block of 512 prompt tokens. */
export function mooncake(): TraceRequest[] {
  const xz = spawnSync('xz', ['-dc', pathOf(FILES.mooncake)], { maxBuffer: 64 << 20, encoding: 'utf8' });
  if (xz.status !== 0) throw new Error(`xz could not unpack the trace: ${xz.stderr}`);
  return xz.stdout
    .trim()
    .split('\n')
    .map((line) => {
      const r = JSON.parse(line) as { timestamp: number; input_length: number; output_length: number; hash_ids: number[] };
      const whole = Math.floor(r.input_length / BLOCK_TOKENS);
      return {
        at: r.timestamp,
        prompt: r.input_length,
        output: Math.max(1, r.output_length),
        blocks: r.hash_ids.slice(0, whole),
        tenant: 'mooncake',
      };
    });
}

/** Share of prompt tokens that an endless cache would have had: the most any placement can hit. */
export function reuse(trace: readonly TraceRequest[]): number {
  const seen = new Set<number>();
  let hit = 0;
  let all = 0;
  for (const r of trace) {
    all += r.prompt;
    for (const b of r.blocks) {
      if (seen.has(b)) hit += BLOCK_TOKENS;
      seen.add(b);
    }
  }
  return hit / all;
}
