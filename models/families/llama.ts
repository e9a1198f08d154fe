import { type Family, ggufNames, hfNames, interleavedNames } from './family.ts';

/** Llama and what is built like it: SmolLM2, Mistral's GGUF files, the shipped model. GGUF files hold q and k for interleaved RoPE. */
export const llama: Family = {
  name: 'llama',
  gguf: { names: { ...ggufNames, ...interleavedNames } },
  hf: { names: hfNames },
};
