import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { GrammarVocab } from '../../models/grammar/index.ts';
import type { JsonObject } from '../../models/json.ts';
import { jsonTokenizer } from '../../models/tokenizer/json.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import { readJson } from '../models/data.ts';

export * from './vocabularies.small.ts';

const pebbleFile = fileURLToPath(new URL('../../models/pebble/hf/tokenizer.json', import.meta.url));

/** Why tests with the shipped model's vocabulary are skipped; '' when it is there. */
export const pebbleMissing: string = existsSync(pebbleFile) ? '' : ' (skipped: models/pebble/hf/tokenizer.json is not there)';

/** The shipped model's tokens. */
export const pebble = (): GrammarVocab => fromTokenizer(JSON.parse(readFileSync(pebbleFile, 'utf8')), '<|im_end|>');

/** GPT-2's 50,257 tokens. */
export const gpt2 = (): GrammarVocab => fromTokenizer(readJson('tokenizers/hf/gpt2_tokenizer.json') as JsonObject, '<|endoftext|>');

function fromTokenizer(json: JsonObject, end: string): GrammarVocab {
  const tokenizer = createTokenizer(jsonTokenizer(json));
  const stop = tokenizer.idOf(end) as number;
  return { size: tokenizer.vocab, stopIds: [stop], isSpecial: (id) => tokenizer.isSpecial(id), bytesOf: (id) => tokenizer.bytesOf(id) };
}
