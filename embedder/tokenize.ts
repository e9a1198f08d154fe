/** `tokenizer.json` of any of Hugging Face's kinds, by Hugging Face's own library. */
import { Tokenizer } from '@huggingface/tokenizers';
import { ModelFileError } from '../models/error.ts';
import { parseJsonObject } from '../models/json.ts';

/** Ids of two texts in a row; those from `second` on are of the second segment. */
export interface PairRow {
  ids: number[];
  second: number;
}

export interface TextTokenizer {
  /** Ids of a text, with the tokens that the model wants around it. */
  encode(text: string): number[];
  /** Of two texts that are read at once. */
  encodePair(first: string, second: string): PairRow;
  largestId: number;
  /** What stands behind a text that is shorter than its batch; masked out. */
  padId: number;
}

const MAX_IDS = 1 << 20;

/** Throws ModelFileError saying what is wrong with the file. */
export function readTokenizer(bytes: Uint8Array, where = 'tokenizer.json'): TextTokenizer {
  const json = parseJsonObject(bytes, where);
  const wrong = (problem: string) => new ModelFileError(where, problem);
  let tokenizer: Tokenizer;
  let largestId = -1;
  try {
    tokenizer = new Tokenizer({ ...json, truncation: null, padding: null }, {});
    for (const id of tokenizer.get_vocab(true).values()) {
      if (!Number.isInteger(id) || id < 0 || id >= MAX_IDS) throw new Error(`the id ${id} is not in 0..${MAX_IDS - 1}`);
      if (id > largestId) largestId = id;
    }
  } catch (e) {
    throw wrong(`is no tokenizer that can be used: ${(e as Error).message}`);
  }
  if (largestId < 0) throw wrong('has no tokens');
  const padId = ['[PAD]', '<pad>', '<|endoftext|>'].map((t) => tokenizer.token_to_id(t)).find((id) => id !== undefined) ?? 0;
  const encode = (text: string) => tokenizer.encode(text).ids;
  const encodePair = (first: string, second: string): PairRow => {
    const { ids, token_type_ids } = tokenizer.encode(first, { text_pair: second, return_token_type_ids: true });
    const at = token_type_ids?.indexOf(1) ?? -1;
    return { ids, second: at < 0 ? ids.length : at };
  };
  try {
    const ids = encode('A turnstone turns stones over.');
    if (ids.length === 0 || ids.some((id) => !Number.isInteger(id) || id < 0 || id > largestId))
      throw new Error('a text gave no ids or wrong ones');
  } catch (e) {
    throw wrong(`cannot encode a text: ${(e as Error).message}`);
  }
  return { encode, encodePair, largestId, padId };
}
