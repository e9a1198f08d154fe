import { describe, expect, it } from 'vitest';
import { ModelFileError } from '../../models/error.ts';
import { openGguf } from '../../models/gguf/open.ts';
import { openHf } from '../../models/hf/open.ts';
import { memorySource } from '../../models/source.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import { hfFolder, memoryFolder, safetensors, small, smallGemma, smallGguf, valuesOf } from './small-model.ts';

const json = (v: unknown) => new TextEncoder().encode(JSON.stringify(v));
const open = (files: Map<string, Uint8Array>) => openHf(memoryFolder(files));

/** The folder with fields of a JSON file changed. */
function changed(file: string, fields: Record<string, unknown>): Map<string, Uint8Array> {
  const files = hfFolder();
  files.set(file, json({ ...(JSON.parse(new TextDecoder().decode(files.get(file))) as object), ...fields }));
  return files;
}

describe('Hugging Face folders', () => {
  it('give the same tensors, configuration and tokens as the GGUF of the same model, in one file or three', async () => {
    const gguf = await openGguf(memorySource(smallGguf(), 'small.gguf'));
    for (const shards of [1, 3]) {
      const hf = await open(hfFolder(small, shards));
      expect(hf.config).toEqual(gguf.config);
      expect(hf.tensors.map((t) => t.name)).toEqual(gguf.tensors.map((t) => t.name));
      for (const [i, t] of hf.tensors.entries()) expect(await valuesOf(t), t.name).toEqual(await valuesOf(gguf.tensors[i]));
      const [a, b] = [createTokenizer(hf.tokenizer), createTokenizer(gguf.tokenizer)];
      const text = "<|im_start|>Hello, what's that?<|im_end|> 12 🦙";
      expect(a.encode(text, { special: true })).toEqual(b.encode(text, { special: true }));
      expect([a.bos, a.eos, [...a.stopIds].sort()]).toEqual([b.bos, b.eos, [...b.stopIds].sort()]);
    }
  });

  it('Gemma 3: norms with their one, four a layer, five of six layers in a window, as its GGUF says', async () => {
    const gguf = await openGguf(memorySource(smallGguf(smallGemma), 'small.gguf'));
    expect(gguf.config).toEqual(smallGemma);
    const hf = await open(hfFolder(smallGemma));
    expect(hf.config).toEqual(gguf.config);
    expect(hf.tensors.map((t) => t.name)).toEqual(gguf.tensors.map((t) => t.name));
    for (const [i, t] of hf.tensors.entries()) expect(await valuesOf(t), t.name).toEqual(await valuesOf(gguf.tensors[i]));
    const changedGemma = (fields: Record<string, unknown>) => {
      const files = hfFolder(smallGemma);
      files.set('config.json', json({ ...(JSON.parse(new TextDecoder().decode(files.get('config.json'))) as object), ...fields }));
      return open(files);
    };
    const kinds = Array.from({ length: 7 }, (_, l) => (l === 3 ? 'full_attention' : 'sliding_attention'));
    const other = (await changedGemma({ layer_types: kinds, query_pre_attn_scalar: 64, rope_local_base_freq: 500 })).config;
    expect(other).toMatchObject({ attentionScale: 0.125, slidingTheta: 500 });
    expect(other.layerKinds?.indexOf('full')).toBe(3);
    await expect(changedGemma({ final_logit_softcapping: 30 })).rejects.toThrow(
      /final_logit_softcapping: scores that are capped do not run here/,
    );
    await expect(changedGemma({ layer_types: ['chunked'] })).rejects.toThrow(
      /layerKinds is \["chunked"\], must be a list of full, sliding, nope, conv/,
    );
    await expect(changedGemma({ sliding_window: undefined })).rejects.toThrow(/window is missing, and layers slide/);
  });

  it('reads generation defaults, stop ids and the template, from either place', async () => {
    const model = await open(hfFolder());
    expect(model.generation).toEqual({ temperature: 0.5, topP: 0.9, topK: 40, stopIds: [261, 259] });
    expect(model.chatTemplate).toBe('{{ messages[0].content }}');
    const files = hfFolder();
    files.set('chat_template.jinja', new TextEncoder().encode('other'));
    expect((await open(files)).chatTemplate).toBe('other');
  });

  it('that say nothing of sampling get what llama.cpp takes; what says something is kept, and the rest is off', async () => {
    const generation = async (file: object | undefined) => {
      const files = hfFolder();
      if (file) files.set('generation_config.json', json(file));
      else files.delete('generation_config.json');
      const { stopIds: _, ...sampling } = (await open(files)).generation;
      return sampling;
    };
    const usual = { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05 };
    expect(await generation(undefined)).toEqual(usual);
    expect(await generation({ eos_token_id: [259], max_new_tokens: 9 })).toEqual(usual);
    expect(await generation({ top_k: 64, top_p: 0.95 })).toEqual({ topK: 64, topP: 0.95 });
    await expect(generation({ temperature: 'warm' })).rejects.toThrow(/generation_config.json: temperature is "warm", must be a number/);
  });

  it('reads rope scaling in the old and the new place', async () => {
    const scaling = { rope_type: 'llama3', factor: 32, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
    const want = { kind: 'llama3', factor: 32, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 8192 };
    expect((await open(changed('config.json', { rope_scaling: scaling }))).config.ropeScaling).toEqual(want);
    const modern = (await open(changed('config.json', { rope_theta: undefined, rope_parameters: { ...scaling, rope_theta: 5e5 } }))).config;
    expect([modern.ropeScaling, modern.ropeTheta]).toEqual([want, 5e5]);
  });

  const message = (files: Map<string, Uint8Array>) =>
    open(files).then(
      () => 'opened',
      (e: unknown) => {
        expect(e).toBeInstanceOf(ModelFileError);
        return (e as Error).message;
      },
    );

  it('refuses what would compute something else, by name', async () => {
    expect(await message(changed('config.json', { model_type: 'gemma2' }))).toMatch(/config.json: model_type is "gemma2"/);
    expect(await message(changed('config.json', { hidden_act: 'gelu' }))).toMatch(/hidden_act is "gelu"/);
    expect(await message(changed('config.json', { rope_scaling: { type: 'yarn', factor: 4 } }))).toMatch(/rope_type is "yarn"/);
    expect(await message(changed('config.json', { num_hidden_layers: 3 }))).toMatch(
      /tensor "model.layers.2.input_layernorm.weight": is missing/,
    );
    expect(await message(changed('config.json', { num_hidden_layers: 1 }))).toMatch(/tensor "model.layers.1.\S+": has no place/);
    expect(await message(changed('config.json', { intermediate_size: 100 }))).toMatch(
      /tensor .*gate_proj.*has 96 rows, the configuration asks for 100/,
    );
    expect(await message(changed('tokenizer.json', { normalizer: { type: 'Lowercase' } }))).toMatch(
      /normalizer: Lowercase is not implemented/,
    );
    expect(await message(changed('tokenizer.json', { model: { type: 'Unigram', vocab: {} } }))).toMatch(/type is "Unigram"/);
    const files = hfFolder();
    files.delete('tokenizer.json');
    expect(await message(files)).toMatch(/has no tokenizer.json/);
  });

  it('bounds every number of the safetensors head', async () => {
    const data = new Float32Array(4);
    const good = safetensors([['a', { shape: [2, 2], data }]]);
    const files = (bytes: Uint8Array) => new Map([...hfFolder(), ['model.safetensors', bytes] as const]);
    const withHeader = (header: unknown) => {
      const head = json(header);
      const out = new Uint8Array(8 + head.length + 16);
      new DataView(out.buffer).setBigUint64(0, BigInt(head.length), true);
      out.set(head, 8);
      return files(out);
    };
    const entry = (t: object) => withHeader({ a: { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16], ...t } });
    expect(await message(files(good.slice(0, 7)))).toMatch(/needs 8 bytes but the file has 7/);
    expect(await message(files(good.slice(0, good.length - 1)))).toMatch(/tensor "a": ends at \d+ but the file ends at \d+/);
    const long = good.slice();
    long.set([255, 255, 255, 255, 255, 255, 255, 127], 0);
    expect(await message(files(long))).toMatch(/header of 9223372036854775807 bytes/);
    expect(await message(entry({ dtype: 'F7' }))).toMatch(/tensor "a": has the unknown dtype "F7"/);
    expect(await message(entry({ shape: [2, 3] }))).toMatch(/tensor "a": has 16 bytes, F32 of 2 × 3 takes 24/);
    expect(await message(entry({ shape: [-1] }))).toMatch(/tensor "a": shape has -1/);
    expect(await message(entry({ data_offsets: [16, 0] }))).toMatch(/tensor "a": has data_offsets/);
    expect(
      await message(
        withHeader({ a: { dtype: 'U8', shape: [16], data_offsets: [0, 16] }, b: { dtype: 'U8', shape: [8], data_offsets: [8, 16] } }),
      ),
    ).toMatch(/tensor "b": overlaps tensor "a"/);
    const shards = hfFolder(small, 2);
    shards.set('model.safetensors.index.json', json({ weight_map: { x: '../secret' } }));
    expect(await message(shards)).toMatch(/x is "..\/secret", must be a plain file name/);
  });
});
