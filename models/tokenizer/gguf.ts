import { ModelFileError } from '../error.ts';
import type { Metadata } from '../gguf/metadata.ts';
import { alphabetBytes, byteTokenValue } from './alphabet.ts';
import { END_TEXTS, packTokens, type TokenizerRules, type TokenizerSpec, TokenType } from './spec.ts';
import { namedSplits } from './split.ts';

const MAX_VOCAB = 1 << 20;

/** A tokenizer from GGUF metadata (`tokenizer.ggml.*`): model `llama` is SPM, `gpt2` byte-level BPE. Throws ModelFileError. */
export function ggufTokenizer(m: Metadata): TokenizerSpec {
  const modelKey = 'tokenizer.ggml.model';
  const model = m.string(modelKey);
  if (model !== 'llama' && model !== 'gpt2') {
    throw new ModelFileError(`key "${modelKey}"`, `is "${model}"; llama (SPM) and gpt2 (byte-level BPE) are known`, m.offset(modelKey));
  }
  const spm = model === 'llama';
  const tokensKey = 'tokenizer.ggml.tokens';
  const tokens = m.strings(tokensKey);
  const V = tokens.length;
  if (V < 1 || V > MAX_VOCAB)
    throw new ModelFileError(`key "${tokensKey}"`, `has ${V} tokens, must have 1..${MAX_VOCAB}`, m.offset(tokensKey));
  const id = (name: string) => (m.has(`tokenizer.ggml.${name}`) ? m.int(`tokenizer.ggml.${name}`, 0, V - 1) : undefined);

  const types = tokenTypes(m, V);
  const bos = id('bos_token_id');
  const eos = id('eos_token_id');
  const unknown = id('unknown_token_id') ?? (spm ? 0 : undefined);
  const stopIds = new Set([eos, id('eot_token_id'), id('eom_token_id')].filter((i) => i !== undefined));
  for (const i of [bos, ...stopIds]) if (i !== undefined && types[i] === TokenType.normal) types[i] = TokenType.control;
  tokens.forEach((t, i) => {
    if (!END_TEXTS.has(t)) return;
    if (types[i] === TokenType.normal) types[i] = TokenType.control;
    stopIds.add(i);
  });

  const rules: TokenizerRules = {
    kind: spm ? 'spm' : 'bpe-bytes',
    ...splitRules(m, spm),
    nfc: false,
    spacePrefixOnce: false,
    stripSpace: spm && m.bool('tokenizer.ggml.add_space_prefix', true),
    addBos: m.bool('tokenizer.ggml.add_bos_token', spm),
    addEos: m.bool('tokenizer.ggml.add_eos_token', false),
    stopIds: [...stopIds],
    lstrip: [],
    rstrip: [],
    ...(bos !== undefined && { bos }),
    ...(eos !== undefined && { eos }),
    ...(unknown !== undefined && { unknown }),
  };
  const bytes = tokens.map((t, i) => tokenBytes(t, types[i], spm));
  const spec: TokenizerSpec = { rules, ...packTokens(bytes), types };
  if (spm) {
    const scores = Float32Array.from(m.numbers('tokenizer.ggml.scores', V));
    if (scores.some(Number.isNaN)) throw new ModelFileError('key "tokenizer.ggml.scores"', 'has NaN', m.offset('tokenizer.ggml.scores'));
    spec.scores = scores;
  } else spec.merges = ggufMerges(m, tokens);
  return spec;
}

function tokenTypes(m: Metadata, V: number): Uint8Array {
  const key = 'tokenizer.ggml.token_type';
  if (!m.has(key)) return new Uint8Array(V).fill(TokenType.normal);
  const types = Uint8Array.from(m.numbers(key, V));
  const bad = types.findIndex((t) => t < TokenType.normal || t > TokenType.byte);
  if (bad >= 0) throw new ModelFileError(`key "${key}"`, `token ${bad} has the unknown type ${types[bad]}`, m.offset(key));
  return types;
}

function splitRules(m: Metadata, spm: boolean): Pick<TokenizerRules, 'split' | 'ignoreMerges' | 'spacePrefix'> {
  if (spm) return { split: [], ignoreMerges: false, spacePrefix: m.bool('tokenizer.ggml.add_space_prefix', true) ? 'always' : 'never' };
  const key = 'tokenizer.ggml.pre';
  const pre = m.string(key, 'default');
  const split = namedSplits[pre];
  if (!split) {
    throw new ModelFileError(`key "${key}"`, `is "${pre}"; known are ${Object.keys(namedSplits).join(', ')}`, m.offset(key));
  }
  return { split, ignoreMerges: /^(llama|lfm2)/.test(pre), spacePrefix: 'never' };
}

const utf8 = new TextEncoder();

function tokenBytes(text: string, type: number, spm: boolean): Uint8Array {
  if (type === TokenType.byte && byteTokenValue(text) >= 0) return Uint8Array.of(byteTokenValue(text));
  const plain = type === TokenType.normal || type === TokenType.unused;
  if (spm) return utf8.encode(plain || type === TokenType.userDefined ? text.replaceAll('▁', ' ') : text);
  return plain ? alphabetBytes(text) : utf8.encode(text);
}

function ggufMerges(m: Metadata, tokens: readonly string[]): Uint32Array {
  const key = 'tokenizer.ggml.merges';
  const pairs = m.strings(key).map((line): readonly [string, string] => {
    const at = line.indexOf(' ', 1);
    return [line.slice(0, at), line.slice(at + 1)];
  });
  return mergeIds(pairs, new Map(tokens.map((t, i) => [t, i])), `key "${key}"`, m.offset(key));
}

/** Merges [M, 3] as ids of left, right and both, from texts. Throws ModelFileError when a text is no token. */
export function mergeIds(
  pairs: readonly (readonly [string, string])[],
  ids: ReadonlyMap<string, number>,
  where: string,
  offset?: number,
): Uint32Array {
  const out = new Uint32Array(pairs.length * 3);
  pairs.forEach(([left, right], i) => {
    [left, right, left + right].forEach((text, j) => {
      const id = ids.get(text);
      if (id === undefined)
        throw new ModelFileError(where, `merge ${i} names ${JSON.stringify(text.slice(0, 40))}, which is no token`, offset);
      out[i * 3 + j] = id;
    });
  });
  return out;
}
