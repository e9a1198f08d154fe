/** Which files make which kernel: a shader is its op's file and the parts that the weight, the output or the GPU ask for. */
import type { ActFormat, KvFormat, WeightFormat } from '../../engine/backend.ts';

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

/** The file that unpacks a format's blocks for i8 activations; null where weights are plain f32. */
export const UNPACK: Record<WeightFormat, string | null> = { f32: null, w8: 'weight-w8', w4: 'weight-w4' };

export function programs(f: Features) {
  const dot = f.packed ? 'dot-packed' : 'dot-plain';
  const half = f.f16 ? 'half-f16' : 'half-plain';
  const reduce = f.subgroups ? 'reduce-subgroup' : 'reduce-shared';
  const store = (out: ActFormat) => `store-${out}`;

  return {
    embed: (unpack: string | null): Program => ({
      files: unpack === null ? ['embed-f32'] : [half, unpack, 'embed'],
      bindings: [W, R, null, R],
    }),
    norm: (out: ActFormat): Program => ({ files: ['numeric', reduce, store(out), 'norm'], bindings: [W, R, R, R] }),
    swiglu: (out: ActFormat): Program => ({ files: ['numeric', store(out), 'swiglu'], bindings: [W, R] }),
    quantize: (): Program => ({ files: ['numeric', store('i8'), 'quantize'], bindings: [W, R] }),
    matmulVec: (unpack: string, SLICES: number, TOKENS: number): Program => ({
      files: [dot, half, unpack, 'finish', 'matmul-vec'],
      constants: { SLICES, TOKENS },
      bindings: [W, R, R, R, R],
    }),
    matmulTile: (unpack: string): Program => ({ files: [dot, half, unpack, 'finish', 'matmul-tile'], bindings: [W, R, R, R, R] }),
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
      files: ['numeric', reduce, store(out), `kv-${kv}`, 'attention'],
      bindings: [W, R, R, R, R, R],
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
  for (const [name, value] of Object.entries(p.constants ?? {})) parts.push(`const ${name} = ${value}u;`);
  for (const file of p.files) {
    const text = shaders[file];
    if (text === undefined) throw new Error(`webgpu: there is no shader ${file}.wgsl among the ${Object.keys(shaders).length} given`);
    parts.push(text);
  }
  return parts.join('\n');
}

export const nameOf = (p: Program): string =>
  [...p.files, ...Object.entries(p.constants ?? {}).map(([name, value]) => `${name}=${value}`)].join(' ');
