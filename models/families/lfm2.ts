import type { ModelConfig } from '../../engine/config.ts';
import { decoders } from '../gguf/blocks.ts';
import type { Part } from '../tensors.ts';
import { type Family, ggufNames, hfNames, type RawConfig, type StoredTensor } from './family.ts';

/** Of each channel L taps, as files have them: of each tap all channels. */
const taps = (name: string): StoredTensor => ({
  name,
  flat: true,
  as: (part: Part, { hidden: D, convTaps: L = 0 }: ModelConfig): Part => ({
    ...part,
    type: 'F32',
    async read(from, to) {
      const x = new Float32Array(D * L);
      decoders.get(part.type)?.(await part.read(0, D * L), x, x.length);
      return new Uint8Array(
        Float32Array.from({ length: to - from }, (_, i) => x[((from + i) % D) * L + Math.floor((from + i) / D)]).buffer,
      );
    },
  }),
});

const list = (v: unknown): readonly unknown[] => (ArrayBuffer.isView(v) ? [...(v as Int32Array)] : Array.isArray(v) ? v : []);

/** Feed-forward's width as its modules compute it from `block_ff_dim`: two thirds, times a factor, in whole multiples. */
function width(full: number, factor: number, unit: number): number {
  return Math.ceil(Math.floor(factor * Math.floor((2 * full) / 3)) / unit) * unit;
}

/** LFM2 and 2.5, dense: gated short convolutions, and a few layers that attend with norms on queries and keys. */
export const lfm2: Family = {
  name: 'lfm2',
  gguf: {
    names: {
      ...ggufNames,
      norm: [{ name: 'token_embd_norm.weight' }],
      convIn: [{ name: 'shortconv.in_proj.weight' }],
      convTaps: [taps('shortconv.conv.weight')],
      convOut: [{ name: 'shortconv.out_proj.weight' }],
    },
    window: () => undefined,
    // a layer without kv heads convolves
    config(m, c): RawConfig {
      const heads = list(c.kvHeads);
      return {
        qkNorm: true,
        convTaps: m.entries.get('lfm2.shortconv.l_cache')?.value,
        ...(heads.length > 0 && {
          kvHeads: Math.max(...heads.map(Number)),
          layerKinds: heads.map((n) => (n === 0 ? 'conv' : 'full')),
        }),
      };
    },
  },
  hf: {
    names: {
      ...hfNames,
      norm: [{ name: 'model.embedding_norm.weight' }],
      attnNorm: [{ name: 'operator_norm.weight' }],
      qNorm: [{ name: 'self_attn.q_layernorm.weight' }],
      kNorm: [{ name: 'self_attn.k_layernorm.weight' }],
      o: [{ name: 'self_attn.out_proj.weight' }],
      convIn: [{ name: 'conv.in_proj.weight' }],
      convTaps: [taps('conv.conv.weight')],
      convOut: [{ name: 'conv.out_proj.weight' }],
      ffnNorm: [{ name: 'ffn_norm.weight' }],
      gateUp: [{ name: 'feed_forward.w1.weight' }, { name: 'feed_forward.w3.weight' }],
      down: [{ name: 'feed_forward.w2.weight' }],
    },
    window: () => undefined,
    config(f, c): RawConfig {
      if (f.bool('conv_bias', false)) throw f.wrong('conv_bias', true, 'false: convolutions with a bias do not run');
      const layers = Math.min(Number(c.layers) || 0, 512);
      const attending = f.array('full_attn_idxs', []);
      const kinds = f.has('layer_types')
        ? f.array('layer_types').map((t) => (t === 'full_attention' ? 'full' : t))
        : Array.from({ length: layers }, (_, l) => (attending.includes(l) ? 'full' : 'conv'));
      const full = f.get('block_ff_dim') ?? c.ffn;
      const adjusts = f.bool('block_auto_adjust_ff_dim', true);
      const [factor, unit] = [f.number('block_ffn_dim_multiplier', 0, 1e3, 1), f.int('block_multiple_of', 1, 1 << 16, 256)];
      return {
        qkNorm: true,
        layerKinds: kinds,
        convTaps: f.get('conv_L_cache') ?? 3,
        normEps: f.get('norm_eps') ?? c.normEps,
        ffn: adjusts && typeof full === 'number' ? width(full, factor, unit) : full,
        ropeTheta: (f.maybe('rope_parameters') ?? f).get('rope_theta') ?? f.get('theta') ?? 1_000_000,
        tied: f.get('tie_embedding') ?? f.get('tie_word_embeddings') ?? true,
      };
    },
  },
};
