/**
 * Prefill of a model's shape, timed on a device without weights: the engine's own forward pass recorded on a backend
 * that times its ops.
 */
import type { Batch, Buf, Weight, WeightFormat } from '../engine/backend.ts';
import { checkConfig, type ModelConfig } from '../engine/config.ts';
import { fits, PLAIN, WEIGHT_FORMATS, weightBytes } from '../engine/formats.ts';
import { allocScratch, forward, type ModelWeights } from '../engine/model.ts';
import { createNpu, type Npu, type NpuOptions } from '../kernels/npu/backend.ts';
import { TIMED_NUMBERS, type TimedNumbers } from '../kernels/npu/commands.ts';
import type { DeviceSpec } from '../kernels/npu/device/index.ts';
import { isTimed, timedBytes } from '../kernels/npu/program/isa.ts';
import { type Summary, summarize } from '../kernels/npu/report/summary.ts';
import type { Launch } from '../kernels/npu/run/machine.ts';

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

/** Weights without bytes in the given format (f32 where K is no multiple of 32; formats that are only timed stand on w8). */
function weightsOf(b: Npu, c: ModelConfig, numbers: Numbers): { weights: ModelWeights; bytes: number } {
  let bytes = 0;
  const matrix = (N: number, K: number, label: string): Weight => {
    const wanted = isTimed(numbers) ? 'w8' : numbers;
    const f = isTimed(numbers) || fits(wanted, K) ? wanted : PLAIN;
    const size = isTimed(numbers) ? N * K * timedBytes(numbers) : weightBytes(f, N, K);
    bytes += size;
    return { format: f, N, K, data: b.alloc(size, label) };
  };
  const vector = (n: number, label: string): Buf => b.alloc(n * 4, label);
  const d = c.headDim;
  const layers = Array.from({ length: c.layers }, () => ({
    attnNorm: vector(c.hidden, 'attnNorm'),
    qkv: matrix((c.heads + 2 * c.kvHeads) * d, c.hidden, 'qkv'),
    ...(c.qkvBias && { qkvBias: vector((c.heads + 2 * c.kvHeads) * d, 'qkvBias') }),
    ...(c.qkNorm && { qNorm: vector(d, 'qNorm'), kNorm: vector(d, 'kNorm') }),
    o: matrix(c.hidden, c.heads * d, 'o'),
    ffnNorm: vector(c.hidden, 'ffnNorm'),
    gateUp: matrix(2 * c.ffn, c.hidden, 'gateUp'),
    down: matrix(c.hidden, c.ffn, 'down'),
  }));
  const embed = matrix(c.vocab, c.hidden, 'embed');
  return { weights: { embed, head: c.tied ? embed : matrix(c.vocab, c.hidden, 'head'), norm: vector(c.hidden, 'norm'), layers }, bytes };
}

/** Throws RangeError when the request is out of bounds, and the device's own error when the model does not fit. */
export function simulate(r: SimulateRequest): Simulation {
  const c = checkConfig(r.model);
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
  const R = r.logits ? batch : 0;
  const formats = {
    qkvAndGateUp: weights.layers.flatMap((l) => [l.qkv.format, l.gateUp.format]),
    o: weights.layers.map((l) => l.o.format),
  };
  const down = weights.layers.map((l) => l.down.format);
  const scratch = allocScratch(b, c, { ...formats, down, head: weights.head.format }, T, Math.max(1, R));

  const perSequence = Math.ceil((cached + r.prompt) / 16);
  const kv = b.kvPool({ format: r.kv ?? 'i8', layers: c.layers, kvHeads: c.kvHeads, headDim: c.headDim }, perSequence * batch);
  const u32 = (label: string, count: number, at: (i: number) => number): Buf => {
    const buf = b.alloc(count * 4, label);
    b.write(buf, new Uint8Array(Uint32Array.from({ length: count }, (_, i) => at(i)).buffer));
    return buf;
  };
  const seq = (t: number): number => Math.floor(t / r.prompt);
  const pos = (t: number): number => cached + (t % r.prompt);
  const meta: Batch = {
    ...{ T, S: batch, R, maxBlocks: perSequence },
    ids: u32('ids', T, (t) => t % c.vocab),
    pos: u32('pos', T, pos),
    slot: u32('slot', T, (t) => seq(t) * perSequence * 16 + pos(t)),
    seqOf: u32('seqOf', T, seq),
    blocks: u32('blocks', batch * perSequence, (i) => i),
    rows: u32('rows', batch, (s) => (s + 1) * r.prompt - 1),
  };
  forward(b, c, weights, b.alloc((cached + r.prompt) * c.headDim * 4, 'rope'), kv, scratch, meta);
  void b.submit();
  return { ...summarize(r.device, launched, b.machine.chips), weightBytes: bytes, launched };
}
