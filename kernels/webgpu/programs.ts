/** Which files make which kernel: a shader is its op's file and the parts that the weight, the output or the GPU ask for. */
import type { ActFormat, Activation, KvFormat, WeightFormat } from '../../engine/backend.ts';
import { PLANES, type PlaneFormat, type PlaneName } from '../../engine/planes.ts';

/** What an adapter has beyond WebGPU's core; each can be turned off, so that every variant can be tested. */
export interface Features {
  /** dot4I8Packed (WGSL's packed_4x8_integer_dot_product). */
  packed: boolean;
  f16: boolean;
  subgroups: boolean;
}

export interface Program {
  files: readonly string[];
  constants?: Readonly<Record<string, number>>;
  /** What the bindings from 1 on are; null leaves a number out. */
  bindings: readonly ('read' | 'write' | null)[];
}

const [R, W] = ['read', 'write'] as const;

/** The file of each activation. */
export const ACTIVATIONS: Record<Activation, string> = { silu: 'activation-silu', gelu: 'activation-gelu' };

/** What unpacks a format's blocks for i8 activations: a file, and the constants that make it this format's. */
export interface Unpack {
  file: string;
  constants?: Readonly<Record<string, number>>;
}

/** Of every format; null where weights are plain f32. */
export const UNPACK: Record<WeightFormat, Unpack | null> = {
  f32: null,
  w8: { file: 'weight-w8' },
  w4: { file: 'weight-w4' },
  q4_1: planes('q4_1'),
  q5_0: planes('q5_0'),
  q5_1: planes('q5_1'),
  iq4_nl: planes('iq4_nl'),
  mxfp4: planes('mxfp4'),
  q2_k: planes('q2_k'),
  q3_k: planes('q3_k'),
  q4_k: planes('q4_k'),
  q5_k: planes('q5_k'),
  q6_k: planes('q6_k'),
  iq4_xs: planes('iq4_xs'),
  any_k: planes('any_k'),
};

function planes(name: PlaneName): Unpack {
  const f: PlaneFormat = PLANES[name];
  const constants = {
    ...{ LOW: f.q[0], HIGH: f.q[1] ?? 0, COLUMNS: f.block, PARTS: 32 / f.sub, OFFSET: f.zero },
    ...{ TABLE: f.table ? (f.scale === 'f16' ? 1 : 2) : 0, EXPONENT: f.scale === 'f16' ? 0 : 1 },
    ...{ SCALE_BITS: f.scales.reduce((a, b) => a + b, 0), SCALE_ZERO: f.scaleZero, MINIMUM: f.minimum < 0 ? 2 : f.minimum },
  };
  return { file: 'weight-planes', constants };
}

/** Constants that are signed. */
const SIGNED: ReadonlySet<string> = new Set(['OFFSET', 'SCALE_ZERO']);

export function programs(f: Features) {
  const dot = f.packed ? 'dot-packed' : 'dot-plain';
  const half = f.f16 ? 'half-f16' : 'half-plain';
  const reduce = f.subgroups ? 'reduce-subgroup' : 'reduce-shared';
  const quads = (format: ActFormat | KvFormat) => (format === 'i8' ? ['quads-i8'] : []);
  const store = (out: ActFormat) => [...quads(out), `store-${out}`];

  return {
    embed: (unpack: Unpack | null): Program => ({
      files: unpack === null ? ['embed-f32'] : [half, unpack.file, 'embed'],
      constants: unpack?.constants,
      bindings: [W, R, null, R],
    }),
    norm: (out: ActFormat): Program => ({ files: ['numeric', reduce, ...store(out), 'norm'], bindings: [W, R, R, R] }),
    glu: (out: ActFormat, activation: Activation): Program => ({
      files: ['numeric', ...store(out), ACTIVATIONS[activation], 'glu'],
      bindings: [W, R],
    }),
    addNorm: (): Program => ({ files: ['numeric', reduce, 'add-norm'], bindings: [W, R, R] }),
    quantize: (): Program => ({ files: ['numeric', ...store('i8'), 'quantize'], bindings: [W, R] }),
    matmulVec: (unpack: Unpack, SLICES: number, TOKENS: number): Program => ({
      files: [dot, half, unpack.file, 'finish', 'matmul-vec'],
      constants: { SLICES, TOKENS, ...unpack.constants },
      bindings: [W, R, R, R, R],
    }),
    matmulTile: (unpack: Unpack): Program => ({
      files: [dot, half, unpack.file, 'finish', 'matmul-tile'],
      constants: unpack.constants,
      bindings: [W, R, R, R, R],
    }),
    matmulF32: (SLICES: number, TOKENS: number): Program => ({
      files: ['finish', 'matmul-f32'],
      constants: { SLICES, TOKENS },
      bindings: [W, R, null, R, R],
    }),
    ropeStore: (kv: KvFormat): Program => ({
      files: ['numeric', reduce, `kv-${kv}-store`, 'rope-store'],
      bindings: [W, W, R, R, R, R, R, R],
    }),
    attention: (kv: KvFormat, out: ActFormat): Program => ({
      files: ['numeric', reduce, ...store(out), `kv-${kv}`, 'attention'],
      bindings: [W, R, R, R, R, R],
    }),
    convStore: (kv: KvFormat): Program => ({ files: ['numeric', ...quads(kv), `conv-${kv}-store`, 'conv-store'], bindings: [W, R, R] }),
    shortConv: (kv: KvFormat, out: ActFormat): Program => ({
      files: ['numeric', ...store(out), `conv-${kv}`, 'short-conv'],
      bindings: [W, R, R, R, R, R, R],
    }),
    editLogits: (): Program => ({ files: ['edit-logits'], bindings: [W, R] }),
    maskLogits: (): Program => ({ files: ['mask-logits'], bindings: [W, R] }),
    topk: (): Program => ({ files: ['numeric', 'topk'], bindings: [W, R, R] }),
    copyPage: (): Program => ({ files: ['copy-page'], bindings: [W] }),
  };
}

const needsHalf = (files: readonly string[]) => files.includes('half-f16');
const needsSubgroups = (files: readonly string[]) => files.includes('reduce-subgroup');

/** The text of a program: extensions, constants, then its files. Throws when a file is missing. */
export function sourceOf(p: Program, shaders: Readonly<Record<string, string>>): string {
  const parts: string[] = [];
  if (needsHalf(p.files)) parts.push('enable f16;');
  if (needsSubgroups(p.files)) parts.push('enable subgroups;');
  for (const [name, value] of Object.entries(p.constants ?? {})) parts.push(`const ${name} = ${value}${SIGNED.has(name) ? '' : 'u'};`);
  for (const file of p.files) {
    const text = shaders[file];
    if (text === undefined) throw new Error(`webgpu: there is no shader ${file}.wgsl among the ${Object.keys(shaders).length} given`);
    parts.push(text);
  }
  return parts.join('\n');
}

export const nameOf = (p: Program): string =>
  [...p.files, ...Object.entries(p.constants ?? {}).map(([name, value]) => `${name}=${value}`)].join(' ');
