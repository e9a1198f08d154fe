import { type Family, ggufNames, hfNames, interleaved } from './family.ts';

/** Llama and what is built like it: SmolLM2, Mistral's GGUF files, the shipped model. GGUF files hold q and k for interleaved RoPE. */
export const llama: Family = {
  name: 'llama',
  gguf: {
    names: {
      ...ggufNames,
      qkv: [interleaved('attn_q.weight'), interleaved('attn_k.weight'), { name: 'attn_v.weight' }],
      qkvBias: [interleaved('attn_q.bias'), interleaved('attn_k.bias'), { name: 'attn_v.bias' }],
    },
  },
  hf: { names: hfNames },
};
