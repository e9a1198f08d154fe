/**
 * Prefill of a model's shape, timed on a device without weights: the engine's own forward pass recorded on a backend
 * that times its ops.
 */
import { allocWeights, type ModelWeights, type TensorShape } from '../engine/anatomy.ts';
import type { WeightFormat } from '../engine/backend.ts';
import { type ModelConfig, readConfig } from '../engine/config.ts';
import { fits, PLAIN, WEIGHT_FORMATS, weightBytes } from '../engine/formats.ts';
import { PAGE } from '../engine/layout.ts';
import { Runner } from '../engine/runner.ts';
import { createNpu, type Npu, type NpuOptions } from './backend.ts';
import { TIMED_NUMBERS, type TimedNumbers } from './commands.ts';
import type { DeviceSpec } from './device/index.ts';
import { isTimed, timedBytes } from './program/isa.ts';
import { type Summary, summarize } from './report/summary.ts';
import type { Launch } from './run/machine.ts';

/** What weights are: a format, or one that is only timed. */
export type Numbers = WeightFormat | TimedNumbers;
export const NUMBERS: readonly Numbers[] = [...WEIGHT_FORMATS, ...TIMED_NUMBERS];

export interface SimulateRequest {
  readonly device: DeviceSpec;
  readonly model: ModelConfig;
  /** Prompt tokens to compute, of each sequence. */
  readonly prompt: number;
  /** Tokens of each sequence whose pages are there already. */
  readonly cached?: number;
  readonly batch?: number;
  readonly numbers?: Numbers;
  readonly kv?: 'i8' | 'f32';
  /** Also the head for each sequence's last token. */
  readonly logits?: boolean;
  /** Keep every instruction's times, for traces and pictures. */
  readonly timelines?: boolean;
  readonly options?: Omit<NpuOptions, 'onLaunch' | 'timingOnly' | 'timelines' | 'numbers' | 'modules'>;
}

export interface Simulation extends Summary {
  readonly weightBytes: number;
  readonly launched: readonly Launch[];
}

const MAX_TOKENS = 1 << 17;

/** Weights without bytes in the given format (f32 where K is not made of its blocks; formats that are only timed stand on w8). */
function weightsOf(b: Npu, c: ModelConfig, numbers: Numbers): { weights: ModelWeights; bytes: number } {
  let bytes = 0;
  const formatOf = ({ shape }: TensorShape): WeightFormat => {
    if (isTimed(numbers)) return 'w8';
    return fits(numbers, shape[1] ?? 1) ? numbers : PLAIN;
  };
  const { weights } = allocWeights(b, c, formatOf, (format, N, K) => {
    const size = isTimed(numbers) ? N * K * timedBytes(numbers) : weightBytes(format, N, K);
    bytes += size;
    return size;
  });
  for (const l of weights.layers) l.balanced = true; // there are no numbers
  return { weights, bytes };
}

/** Throws RangeError when the request is out of bounds, and the device's own error when the model does not fit. */
export function simulate(r: SimulateRequest): Simulation {
  const c = readConfig(r.model);
  const batch = r.batch ?? 1;
  const cached = r.cached ?? 0;
  const whole = (name: string, v: number, lo: number, hi: number): void => {
    if (!Number.isInteger(v) || v < lo || v > hi) throw new RangeError(`${name} is ${v}, must be a whole number in ${lo}..${hi}`);
  };
  whole('prompt', r.prompt, 1, MAX_TOKENS);
  whole('cached', cached, 0, MAX_TOKENS);
  whole('batch', batch, 1, 256);
  const T = r.prompt * batch;
  whole('prompt · batch', T, 1, MAX_TOKENS);
  if (cached + r.prompt > c.context) throw new RangeError(`${cached + r.prompt} tokens are more than the model's context of ${c.context}`);

  const numbers = r.numbers ?? 'w4';
  const timed = isTimed(numbers) ? numbers : undefined;
  const launched: Launch[] = [];
  const b = createNpu(r.device, {
    ...r.options,
    timelines: r.timelines ?? false,
    timingOnly: true,
    numbers: timed,
    onLaunch: (l) => launched.push(l),
  });
  const { weights, bytes } = weightsOf(b, c, numbers);
  const maxBlocks = Math.ceil((cached + r.prompt) / PAGE);
  const size = { maxTokens: T, maxSequences: batch, maxRows: batch, maxBlocks, context: cached + r.prompt };
  const runner = new Runner({ backend: b, config: c, weights, size, kv: r.kv ?? 'i8', pages: maxBlocks * batch, head: r.logits === true });
  runner.positions = size.context; // nobody reads the tables
  const ids = Array.from({ length: size.context }, (_, i) => i % c.vocab);
  const slices = Array.from({ length: batch }, (_, s) => ({
    seq: { ids, pages: Array.from({ length: maxBlocks }, (_, i) => s * maxBlocks + i) },
    ...{ start: cached, count: r.prompt, logits: r.logits ? 1 : 0, draft: [] },
  }));
  runner.run(slices);
  void b.submit();
  return { ...summarize(r.device, launched, b.machine.chips), weightBytes: bytes, launched };
}
