import { ModelFileError } from '../error.ts';
import { mapValues } from '../tensors.ts';
import { type Family, ggufNames, hfNames, type RawConfig, type StoredTensor } from './family.ts';

/** Every sixth layer sees everything, unless a file says otherwise; GGUF files cannot. */
const PERIOD = 6;
const LOCAL_THETA = 10_000;

/** Norms of safetensors hold w where 1 + w is multiplied by; GGUF files hold the sum. */
const onePlus = (name: string): StoredTensor => ({ name, as: (part) => mapValues(part, (w) => 1 + w) });

const common = ({ hidden, layers }: RawConfig): RawConfig => ({
  activation: 'gelu',
  embedScale: Math.fround(Math.sqrt(Number(hidden))),
  postNorms: true,
  slidingTheta: LOCAL_THETA,
  layerKinds: Array.from({ length: Math.min(Number(layers) || 0, 512) }, (_, l) => ((l + 1) % PERIOD === 0 ? 'full' : 'sliding')),
});

/** Gemma 3, text only: four norms a layer, GeGLU, a sliding window with its own RoPE base on five of six layers. */
export const gemma3: Family = {
  name: 'gemma3',
  modelType: 'gemma3_text',
  gguf: {
    names: ggufNames,
    window: () => undefined, // not of all layers
    config: (m, c) => ({ ...common(c), window: m.entries.get('gemma3.attention.sliding_window')?.value }),
  },
  hf: {
    names: {
      ...hfNames,
      norm: [onePlus('model.norm.weight')],
      attnNorm: [onePlus('input_layernorm.weight')],
      qNorm: [onePlus('self_attn.q_norm.weight')],
      kNorm: [onePlus('self_attn.k_norm.weight')],
      attnPostNorm: [onePlus('post_attention_layernorm.weight')],
      ffnNorm: [onePlus('pre_feedforward_layernorm.weight')],
      ffnPostNorm: [onePlus('post_feedforward_layernorm.weight')],
    },
    window: () => undefined,
    config(f, c) {
      for (const key of ['final_logit_softcapping', 'attn_logit_softcapping'])
        if (f.has(key)) throw new ModelFileError('config.json', `${key}: scores that are capped do not run here`);
      const kinds = f.has('layer_types')
        ? f.array('layer_types').map((t) => (t === 'sliding_attention' ? 'sliding' : t === 'full_attention' ? 'full' : t))
        : undefined;
      const ropes = f.maybe('rope_parameters'); // transformers 5: one for each kind of layer
      const theta = (kind: string, key: string) => ropes?.maybe(kind)?.get('rope_theta') ?? f.get(key);
      const scalar = f.get('query_pre_attn_scalar');
      return {
        ...common(c),
        ...(kinds && { layerKinds: kinds }),
        window: f.get('sliding_window'),
        ropeTheta: theta('full_attention', 'rope_theta') ?? 1_000_000,
        slidingTheta: theta('sliding_attention', 'rope_local_base_freq') ?? LOCAL_THETA,
        tied: f.get('tie_word_embeddings') ?? true,
        ...(typeof scalar === 'number' && scalar !== c.headDim && { attentionScale: 1 / Math.sqrt(scalar) }),
      };
    },
  },
};
