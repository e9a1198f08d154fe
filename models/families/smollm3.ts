import { type Family, ggufNames, hfNames, interleavedNames, type RawConfig } from './family.ts';

/** Every fourth layer is not told positions, unless a file says otherwise; GGUF files cannot. */
const PERIOD = 4;

const kinds = ({ layers }: RawConfig, rope: (l: number) => boolean): RawConfig => ({
  layerKinds: Array.from({ length: Math.min(Number(layers) || 0, 512) }, (_, l) => (rope(l) ? 'full' : 'nope')),
});

/** SmolLM3: llama without RoPE on every fourth layer (Yang et al., 2025, RNoPE). */
export const smollm3: Family = {
  name: 'smollm3',
  gguf: {
    names: { ...ggufNames, ...interleavedNames },
    config: (_, c) => kinds(c, (l) => (l + 1) % PERIOD !== 0),
  },
  hf: {
    names: hfNames,
    window: (f) => (f.bool('use_sliding_window', false) ? f.int('sliding_window', 16, 2 ** 31) : undefined),
    config(f, c) {
      const told = f.has('no_rope_layers') ? f.array('no_rope_layers') : undefined; // 1: with RoPE
      const every = f.int('no_rope_layer_interval', 1, 512, PERIOD);
      return { ...kinds(c, (l) => (told ? told[l] !== 0 : (l + 1) % every !== 0)), tied: f.get('tie_word_embeddings') ?? true };
    },
  },
};
