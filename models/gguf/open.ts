import { namesOf } from '../families/family.ts';
import { ggufSampling } from '../generation.ts';
import type { ModelFiles } from '../model.ts';
import type { Source } from '../source.ts';
import { ggufTokenizer } from '../tokenizer/gguf.ts';
import { ggufConfig, ggufFamily } from './config.ts';
import { ggufTensors } from './model.ts';
import { readGguf } from './reader.ts';

/** Opens a GGUF model: reads its head; tensors are read when asked for. Rejects with ModelFileError. */
export async function openGguf(source: Source): Promise<ModelFiles> {
  const file = await readGguf(source);
  const config = await ggufConfig(file);
  const tokenizer = ggufTokenizer(file.metadata);
  const base = source.name.split('/').pop() ?? source.name;
  return {
    name: base.replace(/\.gguf$/i, ''),
    config,
    tensors: ggufTensors(file, config, namesOf(ggufFamily(file.metadata).gguf, file.metadata)),
    tokenizer,
    ...(file.metadata.has('tokenizer.chat_template') && { chatTemplate: file.metadata.string('tokenizer.chat_template') }),
    generation: { ...ggufSampling(file.metadata), stopIds: tokenizer.rules.stopIds },
  };
}
