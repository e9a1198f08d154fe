import { describe, expect, it } from 'vitest';
import { f32ToF16 } from '../../engine/math.ts';
import { ModelFileError } from '../../models/error.ts';
import { decoders } from '../../models/gguf/blocks.ts';
import { ggufConfig } from '../../models/gguf/config.ts';
import { openGguf } from '../../models/gguf/open.ts';
import { readGguf } from '../../models/gguf/reader.ts';
import { typeNamed } from '../../models/gguf/types.ts';
import { sha256Hex } from '../../models/pack/hash.ts';
import { memorySource } from '../../models/source.ts';
import type { ModelTensor } from '../../models/tensors.ts';
import { dataPath, missing, readBytes } from './data.ts';
import { type Value, writeGguf } from './gguf-writer.ts';
import { ggufMetadata, ggufTensors, hfTensors, small, smallGguf, valuesOf } from './small-model.ts';

const open = (bytes: Uint8Array) => readGguf(memorySource(bytes, 'test.gguf'));

describe('decoders', () => {
  // Bytes written by hand from the layouts in ggml-common.h; expected values by the formulas of ggml-quants.c.
  const half = (x: number) => [f32ToF16(x) & 255, f32ToF16(x) >> 8];
  const decode = (type: string, bytes: number[]) => {
    const t = typeNamed(type);
    const out = new Float32Array((bytes.length / t.bytes) * t.block);
    decoders.get(type)?.(Uint8Array.from(bytes), out, out.length);
    return out;
  };
  const seq = (n: number, f: (i: number) => number) => Array.from({ length: n }, (_, i) => f(i));

  it('F16, BF16', () => {
    expect([...decode('F16', [...half(1.5), ...half(-0.125)])]).toEqual([1.5, -0.125]);
    expect([...decode('BF16', [0xc0, 0x3f, 0x00, 0xbe])]).toEqual([1.5, -0.125]);
  });

  it('Q4_0: low nibbles first, then high', () => {
    const got = decode('Q4_0', [...half(0.5), ...seq(16, (i) => i | ((15 - i) << 4))]);
    expect([...got]).toEqual(seq(32, (i) => ((i < 16 ? i : 15 - (i - 16)) - 8) * 0.5));
  });

  it('Q4_1, Q5_0, Q5_1, Q8_0', () => {
    const nibbles = seq(16, (i) => i | ((15 - i) << 4));
    const low = (i: number) => (i < 16 ? i : 31 - i);
    expect([...decode('Q4_1', [...half(0.5), ...half(-3), ...nibbles])]).toEqual(seq(32, (i) => low(i) * 0.5 - 3));
    const high = (i: number) => (0xa5c30f69 >>> i) & 1;
    const bits = [0x69, 0x0f, 0xc3, 0xa5];
    expect([...decode('Q5_0', [...half(0.25), ...bits, ...nibbles])]).toEqual(seq(32, (i) => (low(i) + 16 * high(i) - 16) * 0.25));
    expect([...decode('Q5_1', [...half(0.25), ...half(2), ...bits, ...nibbles])]).toEqual(
      seq(32, (i) => (low(i) + 16 * high(i)) * 0.25 + 2),
    );
    expect([...decode('Q8_0', [...half(2), ...seq(32, (i) => (i * 8 - 128) & 255)])]).toEqual(seq(32, (i) => (i * 8 - 128) * 2));
  });

  // Six-bit scales and minima of eight sub-blocks, packed as ggml's make_qkx quantizer packs them.
  const scales = [1, 63, 7, 32, 45, 3, 60, 18];
  const mins = [0, 5, 63, 31, 33, 62, 2, 17];
  const packed = [
    ...seq(4, (j) => scales[j] | ((scales[j + 4] >> 4) << 6)),
    ...seq(4, (j) => mins[j] | ((mins[j + 4] >> 4) << 6)),
    ...seq(4, (j) => (scales[j + 4] & 15) | ((mins[j + 4] & 15) << 4)),
  ];
  const q = (i: number) => (i * 7 + (i >> 5)) & 15;

  it('Q4_K', () => {
    const nibbles = seq(128, (i) => q((i >> 5) * 64 + (i & 31)) | (q((i >> 5) * 64 + 32 + (i & 31)) << 4));
    const got = decode('Q4_K', [...half(0.5), ...half(0.25), ...packed, ...nibbles]);
    expect([...got]).toEqual(seq(256, (i) => 0.5 * scales[i >> 5] * q(i) - 0.25 * mins[i >> 5]));
  });

  it('Q5_K', () => {
    const fifth = (i: number) => (i * 5 + (i >> 4)) & 1;
    const high = seq(32, (i) => seq(8, (j) => fifth(j * 32 + i) << j).reduce((a, b) => a | b));
    const nibbles = seq(128, (i) => q((i >> 5) * 64 + (i & 31)) | (q((i >> 5) * 64 + 32 + (i & 31)) << 4));
    const got = decode('Q5_K', [...half(0.5), ...half(0.25), ...packed, ...high, ...nibbles]);
    expect([...got]).toEqual(seq(256, (i) => 0.5 * scales[i >> 5] * (q(i) + 16 * fifth(i)) - 0.25 * mins[i >> 5]));
  });

  it('Q6_K', () => {
    const v = (i: number) => (i * 11 + (i >> 3)) & 63;
    const sixteen = seq(16, (j) => (j - 8) * 9);
    // 128 values at a time: quarters j of 32 share bytes, low nibbles of quarters 0, 1 and high of 2, 3
    const low = seq(128, (b) => {
      const [h, l] = [b >> 6, b & 63];
      return (v(h * 128 + l) & 15) | ((v(h * 128 + 64 + l) & 15) << 4);
    });
    const high = seq(64, (b) => seq(4, (j) => (v((b >> 5) * 128 + j * 32 + (b & 31)) >> 4) << (2 * j)).reduce((x, y) => x | y));
    const got = decode('Q6_K', [...low, ...high, ...sixteen.map((s) => s & 255), ...half(0.5)]);
    expect([...got]).toEqual(seq(256, (i) => 0.5 * sixteen[i >> 4] * (v(i) - 32)));
  });
});

/** First digits of SHA-256 over the f32 that gguf-py 0.19.0 (numpy, llama.cpp's own) decodes from the bytes below; recorded. */
const RECORDED: Record<string, string> = {
  F16: 'a4e2124728c9f573',
  BF16: 'a28a062569fccb89',
  Q4_0: '2976ef3a2d43adb9',
  Q4_1: 'eea51203297491e4',
  Q5_0: 'ad15a94313151106',
  Q5_1: 'd7d2f0c39b6b98b0',
  Q8_0: '0b5758af5e56ee5c',
  Q4_K: '3d3d391443ceb568',
  Q5_K: 'bbe22b0c39422ab4',
  Q6_K: 'daf3e87105d12625',
};

it('decoders agree with gguf-py to the bit', () => {
  for (const [name, digest] of Object.entries(RECORDED)) {
    const { block, bytes } = typeNamed(name);
    const blocks = block > 1 ? 64 : 4096;
    // i² · 31 + 7i + 13⌊i/256⌋ mod 256, the top bits of scales cleared so that they are finite
    const raw = Uint8Array.from({ length: blocks * bytes }, (_, i) => i * i * 31 + i * 7 + (i >> 8) * 13);
    const scales = name === 'Q6_K' ? [208] : /_1$|[45]_K$/.test(name) ? [0, 2] : [0];
    for (let b = 0; b < raw.length; b += bytes) for (const at of scales) raw[b + at + 1] &= 0xbb;
    const out = new Float32Array(blocks * block);
    decoders.get(name)?.(raw, out, out.length);
    const plusZero = out.map((v) => v + 0); // numpy and the formulas differ in the sign of some zeros
    expect(sha256Hex(new Uint8Array(plusZero.buffer)).slice(0, 16), name).toBe(digest);
  }
});

describe('reader', () => {
  it('reads what was written', async () => {
    const bytes = smallGguf();
    const whole = await open(bytes);
    expect(whole.tensors.size).toBe(ggufTensors(small).length);
    expect(whole.metadata.string('tokenizer.chat_template')).toBe('{{ messages[0].content }}');
    for (const t of ggufTensors(small)) {
      const got = whole.tensors.get(t.name);
      expect(got?.dims).toEqual(t.dims);
      expect(Buffer.compare(bytes.slice(got?.offset, (got?.offset ?? 0) + (got?.bytes ?? 0)), t.data), t.name).toBe(0);
    }
  });

  const good = (): [Record<string, Value>, ReturnType<typeof ggufTensors>] => [ggufMetadata(small), ggufTensors(small)];
  const patched = (bytes: Uint8Array, at: number, ...values: number[]) => {
    const out = bytes.slice();
    out.set(values, at);
    return out;
  };
  const failure = async (bytes: Uint8Array): Promise<ModelFileError> => {
    const e = await openGguf(memorySource(bytes, 'test.gguf')).then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(e).toBeInstanceOf(ModelFileError);
    return e as ModelFileError;
  };

  it('names the key or tensor and the byte', async () => {
    const bytes = smallGguf();
    expect((await failure(patched(bytes, 0, 0x48))).message).toMatch(/does not start with GGUF.*at byte 0/);
    expect((await failure(patched(bytes, 4, 0, 0, 0, 3))).message).toMatch(/big-endian.*at byte 4/);
    expect((await failure(patched(bytes, 4, 9))).message).toMatch(/version 9/);
    expect((await failure(patched(bytes, 8, 0xff, 0xff, 0xff, 0xff, 0xff))).message).toMatch(/tensor count: is 1099511627775.*at byte 8/);
    expect((await failure(bytes.slice(0, 3000))).message).toMatch(/key "tokenizer.ggml.tokens".*(end of the file|cut short).*at byte \d+/);
    expect((await failure(bytes.slice(0, bytes.length - 4096))).message).toMatch(
      /^tensor "blk.1.ffn_\w+.weight": ends at \d+ but the file ends at \d+/,
    );
  });

  it('refuses what would compute something else', async () => {
    const change = async (key: string, value: Value) => {
      const [m, t] = good();
      return (await failure(writeGguf({ ...m, [key]: value }, t))).message;
    };
    expect(await change('general.architecture', { type: 'string', value: 'gemma2' })).toMatch(/"general.architecture": is "gemma2"/);
    expect(await change('llama.embedding_length', { type: 'u32', value: 1e6 })).toMatch(
      /"llama.embedding_length": is 1000000, must be an integer in 8/,
    );
    expect(await change('llama.rope.dimension_count', { type: 'u32', value: 8 })).toMatch(
      /rope.dimension_count": is 8, must be an integer in 16..16/,
    );
    expect(await change('llama.rope.scaling.type', { type: 'string', value: 'yarn' })).toMatch(/is "yarn"/);
    expect(await change('llama.expert_count', { type: 'u32', value: 8 })).toMatch(/mixtures of experts/);
    expect(await change('general.alignment', { type: 'u32', value: 48 })).toMatch(/"general.alignment": is 48, must be a power of two/);
    expect(await change('tokenizer.ggml.pre', { type: 'string', value: 'novel' })).toMatch(/"tokenizer.ggml.pre": is "novel"; known are/);
  });

  it('refuses tensors that overlap, come twice, are missing, have the wrong shape or no place', async () => {
    const [m, t] = good();
    const withTensors = async (tensors: typeof t) => (await failure(writeGguf(m, tensors))).message;
    expect(await withTensors([...t, t[0]])).toMatch(/tensor "token_embd.weight": comes twice/);
    expect(await withTensors(t.filter((x) => x.name !== 'blk.1.attn_k.weight'))).toMatch(/tensor "blk.1.attn_k.weight": is missing/);
    expect(await withTensors(t.map((x) => (x.name === 'blk.0.attn_v.weight' ? { ...x, dims: [32, 64] } : x)))).toMatch(
      /tensor "blk.0.attn_v.weight": has rows of 32 elements, the configuration asks for 64/,
    );
    expect(await withTensors([...t, { name: 'blk.0.attn_output.bias', type: 'F32', dims: [64], data: new Uint8Array(256) }])).toMatch(
      /tensor "blk.0.attn_output.bias": has no place/,
    );
    const bytes = writeGguf(m, t);
    // The second tensor's offset becomes 0: it lies on the first.
    const name = new TextEncoder().encode('output.weight');
    const at = bytes.findIndex((_, i) => name.every((c, j) => bytes[i + j] === c)) + name.length + 4 + 16 + 4;
    expect((await failure(patched(bytes, at, 0, 0, 0, 0, 0, 0, 0, 0))).message).toMatch(/tensor "\S+": overlaps tensor/);
  });
});

describe('configuration and tensors', () => {
  it('undoes the interleaving of q and k and joins rows, for llama', async () => {
    const model = await openGguf(memorySource(smallGguf(), 'test.gguf'));
    expect(model.config).toEqual(small);
    const hf = hfTensors(small);
    const value = (name: string) => [...(hf.get(name)?.data ?? [])];
    const tensor = (name: string) => model.tensors.find((t) => t.name === name) as ModelTensor;
    const p = 'model.layers.1';
    expect([...(await valuesOf(tensor('layers.1.qkv')))]).toEqual(['q', 'k', 'v'].flatMap((x) => value(`${p}.self_attn.${x}_proj.weight`)));
    expect([...(await valuesOf(tensor('layers.1.gateUp')))]).toEqual(['gate', 'up'].flatMap((x) => value(`${p}.mlp.${x}_proj.weight`)));
    expect([...(await valuesOf(tensor('layers.1.down')))]).toEqual(value(`${p}.mlp.down_proj.weight`));
    expect([...(await valuesOf(tensor('layers.1.ffnNorm')))]).toEqual(value(`${p}.post_attention_layernorm.weight`));
    expect([...(await valuesOf(tensor('head')))]).toEqual(value('lm_head.weight'));
  });

  it('leaves the rows of qwen2 and qwen3 as they are, with biases and QK norms', async () => {
    for (const c of [
      { ...small, family: 'qwen2', qkvBias: true, tied: true },
      { ...small, family: 'qwen3', qkNorm: true },
    ] as const) {
      const model = await openGguf(memorySource(smallGguf(c), 'test.gguf'));
      expect(model.config).toEqual(c);
      const hf = hfTensors(c);
      const tensor = (name: string) => model.tensors.find((t) => t.name === name) as ModelTensor;
      const join = (suffix: string) =>
        ['q', 'k', 'v'].flatMap((x) => [...(hf.get(`model.layers.0.self_attn.${x}_proj.${suffix}`)?.data ?? [])]);
      expect([...(await valuesOf(tensor('layers.0.qkv')))]).toEqual(join('weight'));
      if (c.qkvBias) expect([...(await valuesOf(tensor('layers.0.qkvBias')))]).toEqual(join('bias'));
      if (c.qkNorm)
        expect([...(await valuesOf(tensor('layers.0.kNorm')))]).toEqual([
          ...(hf.get('model.layers.0.self_attn.k_norm.weight')?.data ?? []),
        ]);
    }
  });

  it('reads general.sampling.*; what it leaves out is what llama.cpp takes then', async () => {
    const generation = async (more: Record<string, Value>) => {
      const file = memorySource(writeGguf({ ...ggufMetadata(small), ...more }, ggufTensors(small)), 'test.gguf');
      const { stopIds: _, ...sampling } = (await openGguf(file)).generation;
      return sampling;
    };
    const usual = { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05 };
    expect(await generation({})).toEqual(usual);
    const given = {
      'general.sampling.temp': { type: 'f32', value: 0.6 },
      'general.sampling.top_k': { type: 'i32', value: 20 },
      'general.sampling.penalty_repeat': { type: 'f32', value: 1.25 },
    } as const;
    expect(await generation(given)).toEqual({ ...usual, temperature: 0.6, topK: 20, repetition: 1.25 });
    await expect(generation({ 'general.sampling.top_p': { type: 'f32', value: 1.5 } })).rejects.toThrow(
      /key "general.sampling.top_p": is 1.5, must be a number in 0..1/,
    );
  });

  it('reads RoPE scaling from metadata and from the rope_freqs tensor', async () => {
    const linear = writeGguf(
      {
        ...ggufMetadata(small),
        'llama.rope.scaling.type': { type: 'string', value: 'linear' },
        'llama.rope.scaling.factor': { type: 'f32', value: 4 },
      },
      ggufTensors(small),
    );
    expect((await ggufConfig(await open(linear))).ropeScaling).toEqual({ kind: 'linear', factor: 4 });
    const factors = Float32Array.from({ length: 8 }, (_, i) => 1 + i);
    const freqs = { name: 'rope_freqs.weight', type: 'F32', dims: [8], data: new Uint8Array(factors.buffer) };
    const config = await ggufConfig(await open(writeGguf(ggufMetadata(small), [...ggufTensors(small), freqs])));
    expect(config.ropeScaling).toEqual({ kind: 'factors', factors: [...factors] });
  });

  const stories = 'models/stories260K/stories260K-f32.gguf';
  it.skipIf(missing(stories))(`reads stories260K${missing(stories)}`, async () => {
    const model = await openGguf(memorySource(readBytes(stories), dataPath(stories)));
    expect(model.config).toMatchObject({
      family: 'llama',
      vocab: 512,
      hidden: 64,
      layers: 5,
      heads: 8,
      kvHeads: 4,
      headDim: 8,
      ffn: 172,
      tied: true,
    });
    const embed = await valuesOf(model.tensors[0]);
    // The same numbers in llama2.c's own file: seven i32, then the embedding.
    const bin = new DataView(readBytes('models/stories260K/stories260K.bin').buffer, 28);
    for (const i of [0, 1, 4095, 512 * 64 - 1]) expect(embed[i]).toBe(bin.getFloat32(i * 4, true));
  });

  const tiny = 'models/llama-2-tiny-random.gguf';
  it.skipIf(missing(tiny))(`reads an F16 file, and says why its heads of 4 cannot run${missing(tiny)}`, async () => {
    const file = await open(readBytes(tiny));
    expect(file.tensors.size).toBe(12);
    expect(file.tensors.get('output.weight')).toMatchObject({ dims: [8, 32000], bytes: 512000 });
    await expect(ggufConfig(file)).rejects.toThrow(/headDim is 4, must be an integer in 8/);
  });
});

it('a model is named by its file, not by its folder', async () => {
  const name = async (path: string) => (await openGguf(memorySource(smallGguf(small), path))).name;
  expect(await name('models/of/mine/Small.Q4_0.GGUF')).toBe('Small.Q4_0');
  expect(await name('small')).toBe('small');
});
