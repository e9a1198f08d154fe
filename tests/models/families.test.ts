/** What families do to their files: scalars folded into tensors and fields, kinds of layers. Their logits beside llama.cpp's: bench/compare. */
import { describe, expect, it } from 'vitest';
import type { ModelConfig } from '../../engine/config.ts';
import { openGguf } from '../../models/gguf/open.ts';
import { openHf } from '../../models/hf/open.ts';
import { memorySource } from '../../models/source.ts';
import type { Value } from './gguf-writer.ts';
import { writeGguf } from './gguf-writer.ts';
import { ggufMetadata, ggufTensors, hfFolder, hfTensors, memoryFolder, safetensors, small, valuesOf } from './small-model.ts';

const f32 = (value: number): Value => ({ type: 'f32', value });
const openFile = (c: typeof small, extra: Record<string, Value>) =>
  openGguf(memorySource(writeGguf({ ...ggufMetadata(c), ...extra }, ggufTensors(c)), 'small.gguf'));

function openFolder(c: typeof small, fields: Record<string, unknown>) {
  const files = hfFolder(c);
  const config = JSON.parse(new TextDecoder().decode(files.get('config.json'))) as object;
  files.set('config.json', new TextEncoder().encode(JSON.stringify({ ...config, ...fields })));
  return openHf(memoryFolder(files));
}

it('Granite: the residual scalar goes into the embedding and eps, the logits’ into the last norm', async () => {
  const c = { ...small, family: 'granite' };
  const gguf = await openFile(c, {
    'granite.embedding_scale': f32(12),
    'granite.attention.scale': f32(0.0625),
    'granite.residual_scale': f32(0.25),
    'granite.logit_scale': f32(4),
  });
  expect(gguf.config).toEqual({ ...c, embedScale: 48, attentionScale: 0.0625, normEps: small.normEps * 16 });
  const norm = gguf.tensors.find((t) => t.name === 'norm');
  const stored = hfTensors(c).get('model.norm.weight')?.data as Float32Array;
  expect(norm && (await valuesOf(norm))).toEqual(stored.map((w) => w / 4));
  const multipliers = { embedding_multiplier: 12, attention_multiplier: 0.0625, residual_multiplier: 0.25, logits_scaling: 4 };
  const hf = await openFolder(c, multipliers);
  expect(hf.config).toEqual(gguf.config);
  for (const [i, t] of hf.tensors.entries()) expect(await valuesOf(t), t.name).toEqual(await valuesOf(gguf.tensors[i]));
  await expect(openFolder(c, { ...multipliers, residual_multiplier: 0 })).rejects.toThrow(
    /residual_multiplier is 0, must be a number in 0.000001/,
  );
});

it('Granite 4 of transformers: layers of Mamba and mixtures are refused by name', async () => {
  const c = { ...small, family: 'granitemoehybrid' };
  await expect(openFolder(c, { layer_types: ['attention', 'mamba'] })).rejects.toThrow(
    /layer_types is "mamba", must be attention in every layer/,
  );
  await expect(openFolder(c, { num_local_experts: 8 })).rejects.toThrow(/num_local_experts is 8, must be 0/);
  // as far as the tensors, whose names are another's
  await expect(openFolder(c, { layer_types: ['attention', 'attention'] })).rejects.toThrow(/shared_mlp.input_linear.weight": is missing/);
  await expect(openFile({ ...small, family: 'granitehybrid' }, {})).rejects.toThrow(
    /is "granitehybrid": some of its layers are state spaces \(Mamba\); what runs here: llama/,
  );
});

it('SmolLM3: every fourth layer has no RoPE, or those that a file lists', async () => {
  const c = { ...small, family: 'smollm3', layers: 5 };
  const kinds = ['full', 'full', 'full', 'nope', 'full'];
  const gguf = await openFile(c, {});
  expect(gguf.config).toEqual({ ...c, layerKinds: kinds });
  const hf = await openFolder(c, {});
  expect(hf.config).toEqual(gguf.config);
  for (const [i, t] of hf.tensors.entries()) expect(await valuesOf(t), t.name).toEqual(await valuesOf(gguf.tensors[i]));
  expect((await openFolder(c, { no_rope_layers: [1, 0, 1, 1, 0] })).config.layerKinds).toEqual(['full', 'nope', 'full', 'full', 'nope']);
});

describe('LFM2', () => {
  const L = 3;
  const kinds = ['conv', 'full', 'conv'] as const;
  const c: ModelConfig = {
    ...{ ...small, family: 'lfm2', layers: 3, tied: true, qkNorm: true, ropeTheta: 1_000_000 },
    ...{ layerKinds: kinds, convTaps: L },
  };
  const [D, d] = [c.hidden, c.headDim];

  /** Of each layer: a name of transformers, one of GGUF, and the shape. */
  const layer = (kind: string): [string, string, number[]][] => [
    ['operator_norm', 'attn_norm', [D]],
    ['ffn_norm', 'ffn_norm', [D]],
    ['feed_forward.w1', 'ffn_gate', [c.ffn, D]],
    ['feed_forward.w3', 'ffn_up', [c.ffn, D]],
    ['feed_forward.w2', 'ffn_down', [D, c.ffn]],
    ...(kind === 'conv'
      ? ([
          ['conv.in_proj', 'shortconv.in_proj', [3 * D, D]],
          ['conv.conv', 'shortconv.conv', [D, 1, L]],
          ['conv.out_proj', 'shortconv.out_proj', [D, D]],
        ] as [string, string, number[]][])
      : ([
          ['self_attn.q_proj', 'attn_q', [c.heads * d, D]],
          ['self_attn.k_proj', 'attn_k', [c.kvHeads * d, D]],
          ['self_attn.v_proj', 'attn_v', [c.kvHeads * d, D]],
          ['self_attn.q_layernorm', 'attn_q_norm', [d]],
          ['self_attn.k_layernorm', 'attn_k_norm', [d]],
          ['self_attn.out_proj', 'attn_output', [D, c.heads * d]],
        ] as [string, string, number[]][])),
  ];
  const all: [hf: string, gguf: string, shape: number[]][] = [
    ['model.embed_tokens', 'token_embd', [c.vocab, D]],
    ['model.embedding_norm', 'token_embd_norm', [D]],
    ...kinds.flatMap((kind, l) =>
      layer(kind).map(([hf, gguf, shape]): [string, string, number[]] => [`model.layers.${l}.${hf}`, `blk.${l}.${gguf}`, shape]),
    ),
  ];
  const data = (shape: number[], seed: number) =>
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(seed + i));
  const tensors = all.map(([hf, gguf, shape], i) => ({ hf: `${hf}.weight`, gguf: `${gguf}.weight`, shape, data: data(shape, i) }));

  const own = {
    'lfm2.attention.head_count_kv': { type: 'i32s', value: kinds.map((k) => (k === 'conv' ? 0 : c.kvHeads)) },
    'lfm2.shortconv.l_cache': { type: 'u32', value: L },
  } as const;
  const file = (extra: Record<string, Value> = own) =>
    openGguf(
      memorySource(
        writeGguf(
          { ...ggufMetadata(c), ...extra },
          tensors.map(({ gguf, shape, data }) => ({
            ...{ name: gguf, type: 'F32', data: new Uint8Array(data.buffer) },
            dims: shape.filter((n, i) => i !== 1 || shape.length < 3 || n !== 1).reverse(), // without the middle one
          })),
        ),
        'small.gguf',
      ),
    );
  const folder = (fields: Record<string, unknown> = {}) => {
    const files = hfFolder(c);
    const {
      head_dim: _,
      intermediate_size: __,
      rms_norm_eps: ___,
      ...rest
    } = JSON.parse(new TextDecoder().decode(files.get('config.json')));
    const config = {
      ...{ ...rest, conv_L_cache: L, conv_bias: false, norm_eps: c.normEps, block_ff_dim: c.ffn, block_auto_adjust_ff_dim: false },
      ...{ layer_types: kinds.map((k) => (k === 'conv' ? k : 'full_attention')), ...fields },
    };
    files.set('config.json', new TextEncoder().encode(JSON.stringify(config)));
    files.set('model.safetensors', safetensors(tensors.map(({ hf, shape, data }) => [hf, { shape, data }])));
    return openHf(memoryFolder(files));
  };

  it('is read from GGUF and from transformers with the same numbers, taps one row each', async () => {
    const [gguf, hf] = [await file(), await folder()];
    expect(gguf.config).toEqual(c);
    expect(hf.config).toEqual(c);
    for (const [i, t] of hf.tensors.entries()) expect(await valuesOf(t), t.name).toEqual(await valuesOf(gguf.tensors[i]));
    const taps = await valuesOf(gguf.tensors.find((t) => t.name === 'layers.2.convTaps')!);
    const stored = tensors.find((t) => t.gguf === 'blk.2.shortconv.conv.weight')!.data;
    expect(taps).toEqual(Float32Array.from({ length: L * D }, (_, i) => stored[(i % D) * L + Math.floor(i / D)]));
  });

  it('says its layers in older files by those that attend, and the width of feed-forward by a rule', async () => {
    const older = await folder({ layer_types: undefined, full_attn_idxs: [1] });
    expect(older.config).toEqual(c);
    // LFM2-350M: block_ff_dim 6656 becomes 4608, as its tensors are
    await expect(folder({ block_ff_dim: 6656, block_auto_adjust_ff_dim: true })).rejects.toThrow(/the configuration asks for 4608/);
  });

  it('is refused where something would be left out', async () => {
    await expect(folder({ conv_bias: true })).rejects.toThrow(/conv_bias is true, must be false: convolutions with a bias do not run/);
    await expect(folder({ layer_types: ['conv', 'conv', 'conv'] })).rejects.toThrow(/layerKinds has no layer that attends/);
    await expect(file({ ...own, 'lfm2.shortconv.l_cache': { type: 'u32', value: 99 } })).rejects.toThrow(
      /convTaps is 99, must be an integer/,
    );
    await expect(file({ 'lfm2.attention.head_count_kv': own['lfm2.attention.head_count_kv'] })).rejects.toThrow(/convTaps is missing/);
    await expect(file({ ...own, 'lfm2.attention.head_count_kv': { type: 'i32s', value: [0, 2] } })).rejects.toThrow(
      /layerKinds has 2 layers, must have 3/,
    );
  });
});
