/** What a token is, in GGUF's numbers. */
export const TokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** How a tokenizer works, whatever file it came from. Plain data: packs store it as it is. */
export interface TokenizerSpec {
  rules: TokenizerRules;
  /** Bytes of all tokens, one after the other; those of id are [offsets[id], offsets[id + 1]). `▁` of SPM is stored as a space. */
  blob: Uint8Array;
  offsets: Uint32Array; // [V + 1]
  types: Uint8Array; // [V] of TokenType
  /** SPM: the higher a token's score, the earlier it is merged. */
  scores?: Float32Array; // [V]
  /** BPE: left, right and merged id, in order of rank. */
  merges?: Uint32Array; // [M, 3]
}

export interface TokenizerRules {
  /** `spm`: merges what gives the token of the highest score. `bpe`: merges by rank, from bytes or from characters with byte fallback. */
  kind: 'spm' | 'bpe-bytes' | 'bpe-chars';
  /** Regular expressions, each splitting the pieces of the one before into matches and what is between them. */
  split: readonly string[];
  /** A piece that is a token as a whole stays one, whatever the merges say. */
  ignoreMerges: boolean;
  nfc: boolean;
  /** A space goes before the text: before every stretch between special tokens, or the first one only. */
  spacePrefix: 'always' | 'first' | 'never';
  /** Only when the text does not start with a space already. */
  spacePrefixOnce: boolean;
  /** Decoding drops one leading space. */
  stripSpace: boolean;
  bos?: number;
  eos?: number;
  unknown?: number;
  addBos: boolean;
  addEos: boolean;
  /** Ids that end an answer, the eos among them. */
  stopIds: readonly number[];
  /** Special tokens that swallow the white space before or after them. */
  lstrip: readonly number[];
  rstrip: readonly number[];
}

/** Texts of tokens that end a turn in well-known models (as llama.cpp's vocabulary collects them). */
export const END_TEXTS: ReadonlySet<string> = new Set([
  '<|im_end|>',
  '<|eot_id|>',
  '<|eom_id|>',
  '<|end|>',
  '<|endoftext|>',
  '<|end_of_text|>',
  '<|return|>',
  '<|call|>',
  '<end_of_turn>',
  '<EOT>',
  '</s>',
]);

/** Concatenates the bytes of tokens into blob and offsets. */
export function packTokens(tokens: readonly Uint8Array[]): Pick<TokenizerSpec, 'blob' | 'offsets'> {
  const offsets = new Uint32Array(tokens.length + 1);
  for (let i = 0; i < tokens.length; i++) offsets[i + 1] = offsets[i] + tokens[i].length;
  const blob = new Uint8Array(offsets[tokens.length]);
  for (let i = 0; i < tokens.length; i++) blob.set(tokens[i], offsets[i]);
  return { blob, offsets };
}
