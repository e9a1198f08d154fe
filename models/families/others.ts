/** Architectures that people bring and that do not run here, and why: so that a refusal names what is missing. */
const OTHERS: readonly [names: readonly string[], why: string][] = [
  [['clip', 'mmproj'], 'it is the image or sound half of a model (mmproj), not a language model; give the other file of the pair'],
  [['mamba', 'mamba2', 'falcon_mamba'], 'its layers are state spaces (Mamba), not attention'],
  [
    ['jamba', 'bamba', 'zamba2', 'falcon-h1', 'falcon_h1', 'nemotron_h', 'nemotron_h_moe', 'granitehybrid', 'plamo2'],
    'some of its layers are state spaces (Mamba)',
  ],
  [
    ['qwen3next', 'qwen3_next', 'qwen35', 'qwen35moe', 'qwen3_5', 'qwen3_5_moe', 'kimi-linear', 'kimi_linear'],
    'some of its layers are gated delta nets (DeltaNet)',
  ],
  [['rwkv6', 'rwkv7', 'arwkv7', 'rwkv'], 'its layers are recurrent (RWKV), not attention'],
  [
    [
      'qwen2moe',
      'qwen3moe',
      'qwen2_moe',
      'qwen3_moe',
      'mixtral',
      'deepseek2',
      'deepseek',
      'deepseek_v2',
      'deepseek_v3',
      'gpt-oss',
      'gpt_oss',
      'olmoe',
      'lfm2moe',
      'lfm2_moe',
      'granitemoe',
      'dbrx',
      'llama4',
      'ernie4_5-moe',
      'glm4moe',
    ],
    'it is a mixture of experts',
  ],
  [
    ['bert', 'nomic-bert', 'modern-bert', 'jina-bert-v2', 'roberta', 'xlm-roberta', 'distilbert'],
    'it is a sentence encoder: export it to ONNX and give it to `turnstone pack model.onnx`',
  ],
  [['t5', 't5encoder', 'bart', 'whisper'], 'it is an encoder with a decoder'],
  [['gemma', 'gemma2', 'gemma3n', 'gemma4'], 'this generation of Gemma is built otherwise than Gemma 3'],
];

/** Why an architecture or model type does not run, where that is known. */
export const whyNot = (name: string): string | undefined => OTHERS.find(([names]) => names.includes(name.toLowerCase()))?.[1];
