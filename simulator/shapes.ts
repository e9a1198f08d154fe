/** Shapes of the shipped model and of well-known ones, for simulating without their weights. Sources: each model's published config.json. */
import type { ModelConfig } from '../engine/config.ts';

const llama = { family: 'llama', normEps: 1e-5, qkvBias: false, qkNorm: false } as const;

export const modelShapes: Readonly<Record<string, ModelConfig>> = {
  pebble: {
    ...llama,
    ...{
      vocab: 4096,
      hidden: 192,
      layers: 6,
      heads: 6,
      kvHeads: 2,
      headDim: 32,
      ffn: 512,
      context: 2048,
      ropeTheta: 10000,
      tied: true,
    },
  },
  'smollm2-135m': {
    ...llama,
    ...{
      vocab: 49152,
      hidden: 576,
      layers: 30,
      heads: 9,
      kvHeads: 3,
      headDim: 64,
      ffn: 1536,
      context: 8192,
      ropeTheta: 100000,
      tied: true,
    },
  },
  'qwen2.5-0.5b': {
    ...{ family: 'qwen2', normEps: 1e-6, qkvBias: true, qkNorm: false },
    ...{
      vocab: 151936,
      hidden: 896,
      layers: 24,
      heads: 14,
      kvHeads: 2,
      headDim: 64,
      ffn: 4864,
      context: 32768,
      ropeTheta: 1e6,
      tied: true,
    },
  },
  'llama-3-8b': {
    ...llama,
    ...{
      vocab: 128256,
      hidden: 4096,
      layers: 32,
      heads: 32,
      kvHeads: 8,
      headDim: 128,
      ffn: 14336,
      context: 8192,
      ropeTheta: 500000,
      tied: false,
    },
  },
};
