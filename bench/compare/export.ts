/** A llama-family model as a GGUF file of f32 tensors, for other engines to read. */
import { open } from 'node:fs/promises';
import { ggufNames, interleavedNames } from '../../models/families/family.ts';
import { ggufHead, type MetadataValue, padding, type TensorHead } from '../../models/gguf/write.ts';
import type { ModelFiles } from '../../models/model.ts';
import { openModel } from '../../models/node/files.ts';
import { decodeRows } from '../../models/quantize/convert.ts';
import type { Part } from '../../models/tensors.ts';
import { byteToChar } from '../../models/tokenizer/alphabet.ts';
import { type TokenizerSpec, TokenType } from '../../models/tokenizer/spec.ts';

interface Out {
  head: TensorHead;
  part: Part;
  /** Rows of a head go from rotate-half to interleaved order. */
  rotated: boolean;
}

/** Writes `source` (anything openModel reads) as `path`. Throws for families other than llama. */
export async function exportGguf(source: string, path: string): Promise<void> {
  const model = await openModel(source);
  const file = await open(path, 'w');
  try {
    if (model.config.family !== 'llama' || model.tokenizer.rules.kind !== 'bpe-bytes') {
      throw new Error(`${source}: only the llama family with a byte-level BPE can be written as GGUF`);
    }
    const tensors = outputs(model);
    await file.write(
      ggufHead(
        metadata(model),
        tensors.map((t) => t.head),
      ),
    );
    for (const t of tensors) {
      let x = decodeRows(t.part, await t.part.read(0, t.part.rows), t.part.rows);
      if (t.rotated) x = interleave(x, model.config.headDim, t.part.K);
      const bytes = new Uint8Array(x.buffer);
      await file.write(bytes);
      await file.write(padding(bytes.length));
    }
  } finally {
    await file.close();
    await model.close();
  }
}

function outputs(model: ModelFiles): Out[] {
  return model.tensors.flatMap((t) => {
    const names = { ...ggufNames, ...interleavedNames }[t.kind];
    if (names.length !== t.parts.length) throw new Error(`tensor "${t.name}" has no name in GGUF's llama`);
    return t.parts.map((part, i) => ({
      head: {
        name: `${t.layer < 0 ? '' : `blk.${t.layer}.`}${names[i].name}`,
        type: 'F32',
        dims: t.vector ? [part.rows] : [part.K, part.rows],
      },
      part,
      rotated: names[i].as !== undefined,
    }));
  });
}

/** Row h·d + s·d/2 + i becomes row h·d + 2i + s: what rotateHalfRows of models/tensors.ts undoes. */
function interleave(x: Float32Array, d: number, K: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let r = 0; r < x.length / K; r++) {
    const at = r % d;
    const to = r - at + (at < d / 2 ? 2 * at : 2 * (at - d / 2) + 1);
    out.set(x.subarray(r * K, (r + 1) * K), to * K);
  }
  return out;
}

function metadata({ config: c, tokenizer, name }: ModelFiles): Record<string, MetadataValue> {
  const tokens = tokenTexts(tokenizer);
  const merges: string[] = [];
  const m = tokenizer.merges ?? new Uint32Array();
  for (let i = 0; i < m.length; i += 3) merges.push(`${tokens[m[i]]} ${tokens[m[i + 1]]}`);
  const u32 = (value: number) => ({ type: 'u32', value }) as const;
  const { bos, eos } = tokenizer.rules;
  return {
    'general.architecture': { type: 'string', value: 'llama' },
    'general.name': { type: 'string', value: name },
    'llama.context_length': u32(c.context),
    'llama.embedding_length': u32(c.hidden),
    'llama.block_count': u32(c.layers),
    'llama.feed_forward_length': u32(c.ffn),
    'llama.attention.head_count': u32(c.heads),
    'llama.attention.head_count_kv': u32(c.kvHeads),
    'llama.attention.key_length': u32(c.headDim),
    'llama.attention.value_length': u32(c.headDim),
    'llama.rope.dimension_count': u32(c.headDim),
    'llama.attention.layer_norm_rms_epsilon': { type: 'f32', value: c.normEps },
    'llama.rope.freq_base': { type: 'f32', value: c.ropeTheta },
    'llama.vocab_size': u32(c.vocab),
    'tokenizer.ggml.model': { type: 'string', value: 'gpt2' },
    // the nearest of llama.cpp's built-in splits; token ids are given to both engines, so that it does not matter
    'tokenizer.ggml.pre': { type: 'string', value: 'qwen2' },
    'tokenizer.ggml.tokens': { type: 'strings', value: tokens },
    'tokenizer.ggml.token_type': { type: 'i32s', value: [...tokenizer.types] },
    'tokenizer.ggml.merges': { type: 'strings', value: merges },
    ...(bos !== undefined && { 'tokenizer.ggml.bos_token_id': u32(bos) }),
    ...(eos !== undefined && { 'tokenizer.ggml.eos_token_id': u32(eos) }),
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: false },
  };
}

function tokenTexts({ blob, offsets, types }: TokenizerSpec): string[] {
  return Array.from(types, (type, id) => {
    const bytes = blob.subarray(offsets[id], offsets[id + 1]);
    const plain = type === TokenType.normal || type === TokenType.unused;
    return plain ? Array.from(bytes, (b) => byteToChar[b]).join('') : new TextDecoder().decode(bytes);
  });
}
