import type { Metadata } from '../gguf/metadata.ts';
import type { Fields } from '../json.ts';
import { mapValues } from '../tensors.ts';
import { type Family, type GgufSide, ggufNames, hfNames, interleavedNames, type RawConfig, type StoredNames } from './family.ts';

/** Granite's four scalars. */
interface Scalars {
  embedding: number;
  attention: number;
  residual: number;
  logits: number;
}

/**
 * What a branch adds is multiplied by `residual`. A stream that is `residual` times smaller needs no such product: its norms give the same
 * when eps is smaller by the square, and its embedding begins larger.
 */
const folded = ({ embedding, attention, residual }: Scalars, { normEps }: RawConfig): RawConfig => ({
  embedScale: Math.fround(embedding / residual),
  normEps: typeof normEps === 'number' ? normEps / residual ** 2 : normEps,
  attentionScale: attention,
});

/** Logits are divided: the last norm's gains are instead. */
const divided = (names: StoredNames, { logits }: Scalars): StoredNames => ({
  ...names,
  norm: names.norm.map(({ name }) => ({ name, as: (part) => mapValues(part, (w) => w / logits) })),
});

const RANGE = [1e-6, 1e6] as const;

const ofHf = (f: Fields): Scalars => ({
  embedding: f.number('embedding_multiplier', ...RANGE, 1),
  attention: f.number('attention_multiplier', ...RANGE, 1),
  residual: f.number('residual_multiplier', ...RANGE, 1),
  logits: f.number('logits_scaling', ...RANGE, 1),
});

const gguf: GgufSide = {
  names: { ...ggufNames, ...interleavedNames },
  fold: (names, m) => divided(names, ofGguf(m)),
  config: (m, c) => folded(ofGguf(m), c),
};

function ofGguf(m: Metadata): Scalars {
  const head = Math.sqrt(m.int('granite.embedding_length', 1, 1 << 20) / m.int('granite.attention.head_count', 1, 1 << 10));
  return {
    embedding: m.number('granite.embedding_scale', ...RANGE, 1),
    attention: m.number('granite.attention.scale', ...RANGE, 1 / head),
    residual: m.number('granite.residual_scale', ...RANGE, 1),
    logits: m.number('granite.logit_scale', ...RANGE, 1),
  };
}

/** Granite 3 and dense Granite 4: llama with four scalars. */
export const granite: Family = {
  name: 'granite',
  gguf,
  hf: { names: hfNames, fold: (names, f) => divided(names, ofHf(f)), config: (f, c) => folded(ofHf(f), c) },
};

/** Dense Granite 4 as transformers keeps it: gate and up in one tensor, a layer's kind by name. Layers of Mamba do not run. */
export const graniteHybrid: Family = {
  name: 'granitehybrid',
  modelType: 'granitemoehybrid',
  hf: {
    names: { ...hfNames, gateUp: [{ name: 'shared_mlp.input_linear.weight' }], down: [{ name: 'shared_mlp.output_linear.weight' }] },
    fold: (names, f) => divided(names, ofHf(f)),
    config(f, c) {
      const position = f.string('position_embedding_type', 'rope');
      const other = f.array('layer_types', []).find((t) => t !== 'attention');
      if (other !== undefined) throw f.wrong('layer_types', other, 'attention in every layer: others do not run here');
      if (f.int('num_local_experts', 0, 1 << 16, 0) > 0)
        throw f.wrong('num_local_experts', f.get('num_local_experts'), '0: mixtures do not run');
      const kind = position === 'rope' ? 'full' : 'nope';
      return {
        ...folded(ofHf(f), c),
        family: 'granite',
        ffn: f.get('shared_intermediate_size') ?? c.ffn,
        ...(kind === 'nope' && { layerKinds: Array.from({ length: Math.min(Number(c.layers) || 0, 512) }, () => kind) }),
      };
    },
  },
};
