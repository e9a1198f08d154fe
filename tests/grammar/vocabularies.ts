import type { GrammarVocab } from '../../models/grammar/index.ts';
import type { JsonObject } from '../../models/json.ts';
import { jsonTokenizer } from '../../models/tokenizer/json.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import { readJson } from '../models/data.ts';

export * from './vocabularies.small.ts';

/** GPT-2's 50,257 tokens. */
export function gpt2(): GrammarVocab {
  const tokenizer = createTokenizer(jsonTokenizer(readJson('tokenizers/hf/gpt2_tokenizer.json') as JsonObject));
  const end = tokenizer.idOf('<|endoftext|>') as number;
  return { size: tokenizer.vocab, stopIds: [end], isSpecial: (id) => tokenizer.isSpecial(id), bytesOf: (id) => tokenizer.bytesOf(id) };
}
