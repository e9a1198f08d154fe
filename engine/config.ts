import { ACTIVATIONS, type Activation } from './backend.ts';
import { BLOCK } from './formats.ts';
import { PAGE } from './layout.ts';

/** A decoder-only transformer, as read from GGUF metadata or Hugging Face's config.json. Sizes are counts, not bytes. */
export interface ModelConfig {
  /** Whose files it came from (models/families); nothing here depends on it. */
  family: string;
  vocab: number; // V
  hidden: number; // D
  layers: number; // L
  heads: number; // H
  kvHeads: number; // G, H is a multiple of it
  headDim: number; // d, a multiple of 8
  ffn: number; // F
  context: number; // longest sequence, tokens
  normEps: number;
  ropeTheta: number;
  ropeScaling?: RopeScaling;
  /** The head reads the embedding's rows. */
  tied: boolean;
  qkvBias: boolean;
  /** An RMSNorm on every query and key head. */
  qkNorm: boolean;
  // what follows is absent where a model does not have it, in packs as well
  /** What the gate goes through; silu unless given. */
  activation?: Activation;
  /** What looked-up rows of the embedding are multiplied by. */
  embedScale?: number;
  /** What scores are multiplied by; 1 / √d unless given. */
  attentionScale?: number;
  /** A norm behind attention and feed-forward too, on what they add. */
  postNorms?: boolean;
  /** Of each layer, where they differ; all `full` unless given. */
  layerKinds?: readonly LayerKind[];
  /** Positions that a sliding layer sees, and its RoPE theta when it has its own. */
  window?: number;
  slidingTheta?: number;
  /** Tokens that a layer's convolution reads, its own included. */
  convTaps?: number; // L
}

/**
 * full: a query sees all positions before it. sliding: the last `window`. nope: all, and positions are not told (no RoPE). conv: no attention,
 * but a gated convolution over the last few tokens.
 */
export type LayerKind = 'full' | 'sliding' | 'nope' | 'conv';
const LAYER_KINDS: readonly LayerKind[] = ['full', 'sliding', 'nope', 'conv'];

export type RopeScaling =
  | { kind: 'linear'; factor: number }
  /** One divisor for each of the d/2 frequencies, as GGUF's rope_freqs tensor gives them. */
  | { kind: 'factors'; factors: readonly number[] }
  | { kind: 'llama3'; factor: number; lowFreqFactor: number; highFreqFactor: number; originalContext: number };

/** A configuration that the engine cannot run. Readers of files say instead which key of theirs gave the field. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  readonly field: string;
  readonly problem: string;

  constructor(field: string, problem: string) {
    super(`model config: ${field} ${problem}`);
    this.field = field;
    this.problem = problem;
  }
}

/** The longest context there is, tokens: what a file promises beyond it is cut. */
export const MAX_CONTEXT = 1 << 20;

/** Typed, bounded access to the fields of something that may be anything. */
class Reader {
  private readonly raw: Readonly<Record<string, unknown>>;
  private readonly prefix: string;
  private readonly known = new Set<string>();

  constructor(raw: unknown, prefix = '') {
    if (typeof raw !== 'object' || raw === null) throw new ConfigError(prefix || 'it', 'must be an object');
    this.raw = raw as Record<string, unknown>;
    this.prefix = prefix;
  }

  get(field: string): unknown {
    this.known.add(field);
    return Object.hasOwn(this.raw, field) ? (this.raw[field] ?? undefined) : undefined;
  }

  int(field: string, lo: number, hi: number): number {
    const v = this.get(field);
    if (typeof v !== 'number' || !Number.isInteger(v) || v < lo || v > hi) throw this.wrong(field, v, `an integer in ${lo}..${hi}`);
    return v;
  }

  /** A number above lo, or from lo on when `closed`. */
  number(field: string, lo: number, hi: number, closed = true): number {
    const v = this.get(field);
    if (typeof v !== 'number' || !(closed ? v >= lo : v > lo) || !(v <= hi))
      throw this.wrong(field, v, closed ? `a number in ${lo}..${hi}` : `a number above ${lo}, at most ${hi}`);
    return v;
  }

  flag(field: string): boolean {
    const v = this.get(field) ?? false;
    if (typeof v !== 'boolean') throw this.wrong(field, v, 'true or false');
    return v;
  }

  text(field: string, choices?: readonly string[]): string {
    const v = this.get(field);
    if (typeof v !== 'string' || (choices && !choices.includes(v))) throw this.wrong(field, v, choices ? choices.join(', ') : 'a text');
    return v;
  }

  /** `{ [field]: read }` when the field is there, nothing otherwise: what is absent stays absent. */
  maybe<K extends string, T>(field: K, read: (value: unknown) => T): { [key in K]?: T } {
    const v = this.get(field);
    return v === undefined ? {} : ({ [field]: read(v) } as { [key in K]: T });
  }

  /** Throws when there is a field that nobody has asked for: it would be ignored, and something else computed. */
  done(): void {
    const unknown = Object.keys(this.raw).find((k) => !this.known.has(k) && this.raw[k] !== undefined);
    if (unknown !== undefined) throw new ConfigError(this.prefix + unknown, 'is not known to this version');
  }

  wrong(field: string, v: unknown, want: string): ConfigError {
    const got = v === undefined ? 'is missing' : `is ${(JSON.stringify(v) ?? String(v)).slice(0, 80)}`;
    return new ConfigError(this.prefix + field, `${got}, must be ${want}`);
  }
}

/** The one check of a configuration, whoever read it. Throws ConfigError naming the field when it is outside what the engine can run. */
export function readConfig(raw: unknown): ModelConfig {
  const r = new Reader(raw);
  const c: ModelConfig = {
    family: r.text('family'),
    vocab: r.int('vocab', 1, 1 << 20),
    hidden: r.int('hidden', 8, 1 << 16),
    layers: r.int('layers', 1, 512),
    heads: r.int('heads', 1, 1024),
    kvHeads: r.int('kvHeads', 1, 1024),
    headDim: r.int('headDim', 8, 256),
    ffn: r.int('ffn', 8, 1 << 18),
    context: r.int('context', 16, MAX_CONTEXT),
    normEps: r.number('normEps', 0, 1, false),
    ropeTheta: r.number('ropeTheta', 1, 1e12),
    ...r.maybe('ropeScaling', readScaling),
    tied: r.flag('tied'),
    qkvBias: r.flag('qkvBias'),
    qkNorm: r.flag('qkNorm'),
    ...r.maybe('activation', () => r.text('activation', ACTIVATIONS) as Activation),
    ...r.maybe('embedScale', () => r.number('embedScale', 0, 1e4, false)),
    ...r.maybe('attentionScale', () => r.number('attentionScale', 0, 1e4, false)),
    ...r.maybe('postNorms', () => r.flag('postNorms')),
    ...r.maybe('layerKinds', (v) => readKinds(r, v)),
    ...r.maybe('window', () => r.int('window', 1, MAX_CONTEXT)),
    ...r.maybe('slidingTheta', () => r.number('slidingTheta', 1, 1e12)),
    ...r.maybe('convTaps', () => r.int('convTaps', 1, PAGE)),
  };
  r.done();
  if (c.layerKinds && c.layerKinds.length !== c.layers)
    throw new ConfigError('layerKinds', `has ${c.layerKinds.length} layers, must have ${c.layers}`);
  if (c.layerKinds?.includes('sliding') && c.window === undefined) throw new ConfigError('window', 'is missing, and layers slide');
  if (c.layerKinds?.includes('conv')) {
    if (c.convTaps === undefined) throw new ConfigError('convTaps', 'is missing, and layers convolve');
    if (c.layerKinds.every((k) => k === 'conv')) throw new ConfigError('layerKinds', 'has no layer that attends');
    if (c.hidden % BLOCK !== 0) throw new ConfigError('hidden', `${c.hidden} is no multiple of ${BLOCK}, and layers convolve`);
  }
  if (c.heads % c.kvHeads !== 0) throw new ConfigError('heads', `${c.heads} is no multiple of kvHeads ${c.kvHeads}`);
  for (const [field, unit] of [
    ['headDim', 8],
    ['hidden', 8],
    ['ffn', 4],
  ] as const) {
    if (c[field] % unit !== 0) throw new ConfigError(field, `${c[field]} is no multiple of ${unit}`);
  }
  const s = c.ropeScaling;
  if (s?.kind === 'factors' && s.factors.length !== c.headDim / 2)
    throw new ConfigError('ropeScaling.factors', `has ${s.factors.length} numbers, must have ${c.headDim / 2}`);
  return c;
}

function readKinds(r: Reader, v: unknown): LayerKind[] {
  if (!Array.isArray(v) || !v.every((k) => LAYER_KINDS.includes(k))) throw r.wrong('layerKinds', v, `a list of ${LAYER_KINDS.join(', ')}`);
  return v;
}

function readScaling(raw: unknown): RopeScaling {
  const r = new Reader(raw, 'ropeScaling.');
  const kind = r.text('kind', ['linear', 'factors', 'llama3']) as RopeScaling['kind'];
  const scaling = { linear, factors, llama3 }[kind](r);
  r.done();
  return scaling;
}

const linear = (r: Reader): RopeScaling => ({ kind: 'linear', factor: r.number('factor', 1, 1e4) });

function factors(r: Reader): RopeScaling {
  const list = r.get('factors');
  if (!Array.isArray(list) || !list.every((f) => typeof f === 'number' && f > 0 && f <= 1e6))
    throw r.wrong('factors', list, 'numbers above 0, at most 1e6');
  return { kind: 'factors', factors: list };
}

function llama3(r: Reader): RopeScaling {
  const lowFreqFactor = r.number('lowFreqFactor', 0, 1e4, false);
  return {
    kind: 'llama3',
    factor: r.number('factor', 1, 1e4),
    lowFreqFactor,
    highFreqFactor: r.number('highFreqFactor', lowFreqFactor, 1e4, false),
    originalContext: r.int('originalContext', 1, 2 ** 31),
  };
}
