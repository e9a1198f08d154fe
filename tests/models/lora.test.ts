/** Adapters of low rank, merged: PEFT's and GGUF's, on models of either kind, give the same matrices, W + alpha / rank · B · A. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ModelConfig } from '../../engine/config.ts';
import { openGguf } from '../../models/gguf/open.ts';
import { openHf } from '../../models/hf/open.ts';
import { type Adapter, lowRank, mergeLora, openGgufAdapter, openPeft } from '../../models/lora.ts';
import type { ModelFiles } from '../../models/model.ts';
import { openAdapter } from '../../models/node/files.ts';
import { memorySource } from '../../models/source.ts';
import { modelShapes } from '../../simulator/shapes.ts';
import { writeGguf } from './gguf-writer.ts';
import { hfFolder, hfTensors, interleave, memoryFolder, safetensors, small, smallGemma, smallGguf, valuesOf } from './small-model.ts';

const RANK = 4;
const ALPHA = 6;
type Matrix = { shape: number[]; data: Float32Array };

/** A and B for some matrices of every layer, under PEFT's names. */
function factorsOf(c: ModelConfig): Map<string, Matrix> {
  let x = 3;
  const draw = () => (x = (x * 48271) % 2147483647) / 2147483647 - 0.5;
  const out = new Map<string, Matrix>();
  for (const [name, { shape }] of hfTensors(c)) {
    if (!/(q_proj|v_proj|o_proj|down_proj)\.weight$/.test(name)) continue;
    const [N, K] = shape;
    const matrix = `base_model.model.${name.slice(0, -'.weight'.length)}`;
    out.set(`${matrix}.lora_A.weight`, { shape: [RANK, K], data: Float32Array.from({ length: RANK * K }, draw) });
    out.set(`${matrix}.lora_B.weight`, { shape: [N, RANK], data: Float32Array.from({ length: N * RANK }, draw) });
  }
  return out;
}

const json = (v: unknown) => new TextEncoder().encode(JSON.stringify(v));
const CONFIG = { peft_type: 'LORA', r: RANK, lora_alpha: ALPHA, bias: 'none', use_dora: false, modules_to_save: null, rank_pattern: {} };
const peft = (factors: Map<string, Matrix>, config: object = CONFIG): Promise<Adapter> =>
  openPeft(
    memoryFolder(
      new Map([
        ['adapter_config.json', json(config)],
        ['adapter_model.safetensors', safetensors(factors)],
      ]),
    ),
  );

const NAMES: readonly [string, string][] = [
  ['self_attn.q_proj', 'attn_q'],
  ['self_attn.v_proj', 'attn_v'],
  ['self_attn.o_proj', 'attn_output'],
  ['mlp.down_proj', 'ffn_down'],
];

/** The same as llama.cpp's converter writes it: rows of B of q as those of q. */
function ggufAdapter(c: ModelConfig, factors: Map<string, Matrix>): Promise<Adapter> {
  const tensors = [...factors].map(([name, { shape, data }]) => {
    const [, layer, matrix, side] = /layers\.(\d+)\.(.+)\.lora_([AB])\.weight$/.exec(name) as unknown as string[];
    const to = NAMES.find(([hf]) => hf === matrix)?.[1];
    const turned = c.family === 'llama' && to === 'attn_q' && side === 'B' ? interleave(data, c.headDim, RANK) : data;
    return {
      name: `blk.${layer}.${to}.weight.lora_${side.toLowerCase()}`,
      type: 'F32',
      dims: [...shape].reverse(),
      data: new Uint8Array(turned.buffer),
    };
  });
  const metadata = {
    'general.architecture': { type: 'string', value: c.family },
    'general.type': { type: 'string', value: 'adapter' },
    'adapter.type': { type: 'string', value: 'lora' },
    'adapter.lora.alpha': { type: 'f32', value: ALPHA },
  } as const;
  return openGgufAdapter(memorySource(writeGguf(metadata, tensors), 'adapter.gguf'));
}

const bytes = (x: Float32Array = new Float32Array()) => Buffer.from(x.buffer, x.byteOffset, x.byteLength);

async function numbersOf(model: ModelFiles): Promise<Map<string, Float32Array>> {
  const out = new Map<string, Float32Array>();
  for (const t of model.tensors) out.set(t.name, await valuesOf(t));
  return out;
}

describe.each([
  ['llama', small],
  ['gemma3', smallGemma],
])('an adapter of %s', (_, c) => {
  const factors = factorsOf(c);

  it('is merged into a folder or a GGUF file, from a folder or a GGUF file, with the same numbers', async () => {
    const models = [await openHf(memoryFolder(hfFolder(c))), await openGguf(memorySource(smallGguf(c), 'small.gguf'))];
    const adapters = [await peft(factors), await ggufAdapter(c, factors)];
    const wanted = structuredClone(hfTensors(c));
    for (const [name, { shape, data }] of wanted) {
      const matrix = `base_model.model.${name.slice(0, -'.weight'.length)}`;
      const [a, b] = [factors.get(`${matrix}.lora_A.weight`), factors.get(`${matrix}.lora_B.weight`)];
      const [N, K] = shape;
      if (!a || !b) continue;
      for (let n = 0; n < N; n++)
        for (let k = 0; k < K; k++)
          for (let r = 0; r < RANK; r++) data[n * K + k] += (ALPHA / RANK) * b.data[n * RANK + r] * a.data[r * K + k];
    }
    const folder = hfFolder(c);
    folder.set('model.safetensors', safetensors(wanted));
    const want = await numbersOf(await openHf(memoryFolder(folder)));
    let first: Map<string, Float32Array> | undefined;
    for (const model of models) {
      const before = await numbersOf(model);
      for (const adapter of adapters) {
        const got = await numbersOf(await mergeLora(model, adapter));
        first ??= got;
        let changed = 0;
        for (const [name, x] of got) {
          expect(Buffer.compare(bytes(x), bytes(first.get(name))), name).toBe(0);
          const y = want.get(name) as Float32Array;
          expect(Math.max(...x.map((v, i) => Math.abs(v - y[i]))), name).toBeLessThan(1e-6);
          if (x.some((v, i) => v !== before.get(name)?.[i])) changed++;
        }
        expect(changed).toBe(3 * c.layers); // qkv, o and down
      }
    }
  });
});

describe('an adapter that does not fit', () => {
  const factors = factorsOf(small);
  const model = () => openHf(memoryFolder(hfFolder(small)));
  const one = (name: string, m: Matrix) => new Map([...factors, [name, m]]);
  const matrix = 'base_model.model.model.layers.0.self_attn.q_proj';

  it.each([
    ['DoRA', { ...CONFIG, use_dora: true }, 'use_dora is true: DoRA rescales the sum'],
    ['whole matrices', { ...CONFIG, modules_to_save: ['lm_head'] }, 'modules_to_save is ["lm_head"]'],
    ['several ranks', { ...CONFIG, rank_pattern: { q_proj: 8 } }, 'rank_pattern is {"q_proj":8}'],
    ['another method', { ...CONFIG, peft_type: 'IA3' }, 'peft_type "IA3", must be LORA'],
    ['no scale', { ...CONFIG, lora_alpha: undefined }, 'lora_alpha'],
  ])('%s is refused by its field', async (_, config, why) => {
    await expect(peft(factors, config)).rejects.toThrow(why);
  });

  it('is refused by its tensor: another shape, half of a pair, a matrix that is not there', async () => {
    const wide = await peft(one(`${matrix}.lora_B.weight`, { shape: [32, RANK], data: new Float32Array(32 * RANK) }));
    await expect(mergeLora(await model(), wide)).rejects.toThrow(`tensor "${matrix}.lora_B.weight"`);
    const half = await peft(new Map([...factors].filter(([name]) => name !== `${matrix}.lora_B.weight`)));
    await expect(mergeLora(await model(), half)).rejects.toThrow('has lora_A only');
    const deep = one('base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight', {
      shape: [RANK, 64],
      data: new Float32Array(RANK * 64),
    });
    await expect(mergeLora(await model(), await peft(deep))).rejects.toThrow('matrix "model.layers.9.self_attn.q_proj.weight"');
    await expect(peft(one('base_model.model.lm_head.lora_embedding_A', { shape: [1], data: new Float32Array(1) }))).rejects.toThrow(
      'is none of lora_A',
    );
    await expect(openGgufAdapter(memorySource(smallGguf(), 'small.gguf'))).rejects.toThrow('is a GGUF model, must be an adapter');
  });

  it('counts alpha / √rank where it says so, and a scale beside', async () => {
    const first = async (config: object, scale?: number) =>
      (await numbersOf(await mergeLora(await model(), await peft(factors, config), scale))).get('layers.0.o');
    const rooted = await first({ ...CONFIG, use_rslora: true });
    expect(rooted).toEqual(await first(CONFIG, Math.sqrt(RANK)));
    expect(rooted).not.toEqual(await first(CONFIG));
  });
});

it.each([
  ['orders-pebble', 'pebble', 6 * 7],
  ['orders-smollm2', 'smollm2-135m', 30 * 2],
] as const)('%s, which is here, has factors for matrices of its base alone', async (name, shape, matrices) => {
  const adapter = await openAdapter(join(import.meta.dirname, '../../training/lora', name));
  try {
    const pieces = lowRank(modelShapes[shape], shape, adapter);
    expect(pieces.length).toBe(matrices);
    for (const { read } of pieces.slice(0, 2)) expect((await read()).some((b) => b !== 0)).toBe(true);
  } finally {
    await adapter.close();
  }
});
