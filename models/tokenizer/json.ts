import { ModelFileError } from '../error.ts';
import { Fields, isObject, type Json, type JsonObject } from '../json.ts';
import { alphabetBytes, byteTokenValue } from './alphabet.ts';
import { mergeIds } from './gguf.ts';
import { preRules, TextRules } from './json-rules.ts';
import { END_TEXTS, packTokens, type TokenizerRules, type TokenizerSpec, TokenType } from './spec.ts';

const MAX_ID = (1 << 20) - 1;

/**
 * A tokenizer from Hugging Face's `tokenizer.json` (model type BPE: byte-level, or characters with byte fallback) and, when at
 * hand, `tokenizer_config.json`, which names bos and eos. Throws ModelFileError for what it does not implement.
 */
export function jsonTokenizer(json: JsonObject, config: JsonObject = {}, eosIds: readonly number[] = []): TokenizerSpec {
  const top = new Fields(json, 'tokenizer.json');
  const model = top.object('model');
  if (model.string('type', 'BPE') !== 'BPE') throw model.wrong('type', model.get('type'), '"BPE"');
  for (const key of ['continuing_subword_prefix', 'end_of_word_suffix']) {
    if (model.string(key, '') !== '') throw model.wrong(key, model.get(key), 'empty');
  }
  const vocab = readVocab(model.object('vocab'));
  const added = top.has('added_tokens') ? top.objects('added_tokens') : [];
  const ids = added.map((a) => a.int('id', 0, MAX_ID));
  const contents = added.map((a) => a.string('content'));

  const V = Math.max(-1, ...ids, maxOf(vocab.values())) + 1;
  if (V === 0) throw new ModelFileError('tokenizer.json', 'has no tokens');
  const text = new TextRules();
  preRules(text, top);
  const tokens: Uint8Array[] = Array.from({ length: V }, () => new Uint8Array(0));
  const types = new Uint8Array(V).fill(TokenType.unused);
  for (const [token, id] of vocab) {
    const byte = text.bytes ? -1 : byteTokenValue(token);
    types[id] = byte >= 0 ? TokenType.byte : TokenType.normal;
    tokens[id] = byte >= 0 ? Uint8Array.of(byte) : text.bytes ? alphabetBytes(token) : utf8.encode(token.replaceAll('▁', ' '));
  }
  added.forEach((a, i) => {
    types[ids[i]] = a.bool('special', false) ? TokenType.control : TokenType.userDefined;
    tokens[ids[i]] = utf8.encode(contents[i]);
  });

  const idOf = (t: string | undefined) => (t === undefined ? undefined : (ids[contents.indexOf(t)] ?? vocab.get(t)));
  const outer = outerTokens(top);
  const named = new Fields(config, 'tokenizer_config.json');
  const bos = outer.first ?? idOf(tokenText(named, 'bos_token'));
  const eos = outer.last ?? idOf(tokenText(named, 'eos_token')) ?? eosIds[0];
  const unknown = idOf(model.has('unk_token') ? model.string('unk_token') : undefined);
  const ends = ids.filter((_, i) => END_TEXTS.has(contents[i]));
  const rules: TokenizerRules = {
    kind: text.bytes ? 'bpe-bytes' : 'bpe-chars',
    split: text.split,
    ignoreMerges: model.bool('ignore_merges', false),
    nfc: text.nfc,
    spacePrefix: text.spacePrefix,
    spacePrefixOnce: text.spacePrefixOnce,
    stripSpace: text.stripSpace,
    addBos: outer.first !== undefined,
    addEos: outer.last !== undefined,
    stopIds: [...new Set([...(eos === undefined ? [] : [eos]), ...eosIds.filter((id) => id < V), ...ends])],
    lstrip: ids.filter((_, i) => added[i].bool('lstrip', false)),
    rstrip: ids.filter((_, i) => added[i].bool('rstrip', false)),
    ...(bos !== undefined && { bos }),
    ...(eos !== undefined && { eos }),
    ...(unknown !== undefined && { unknown }),
  };
  return { rules, ...packTokens(tokens), types, merges: mergeIds(readMerges(model), vocab, 'tokenizer.json: model.merges') };
}

const utf8 = new TextEncoder();

function maxOf(values: Iterable<number>): number {
  let max = -1;
  for (const v of values) if (v > max) max = v;
  return max;
}

function readVocab(f: Fields): Map<string, number> {
  const vocab = new Map<string, number>();
  for (const [token, id] of Object.entries(f.raw)) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > MAX_ID)
      throw f.wrong(JSON.stringify(token), id, `an id in 0..${MAX_ID}`);
    vocab.set(token, id);
  }
  return vocab;
}

function readMerges(model: Fields): (readonly [string, string])[] {
  return model.array('merges').map((m, i) => {
    if (Array.isArray(m) && m.length === 2 && typeof m[0] === 'string' && typeof m[1] === 'string') return [m[0], m[1]];
    const at = typeof m === 'string' ? m.indexOf(' ', 1) : -1;
    if (typeof m !== 'string' || at < 0) throw model.wrong(`merges[${i}]`, m, 'two tokens');
    return [m.slice(0, at), m.slice(at + 1)];
  });
}

/** `bos_token: "<s>"` or `{ content: "<s>" }`. */
function tokenText(config: Fields, key: string): string | undefined {
  const v = config.get(key);
  if (typeof v === 'string') return v;
  return isObject(v) && typeof v.content === 'string' ? v.content : undefined;
}

/** Ids that the post-processor puts before and after a text. */
function outerTokens(top: Fields): { first?: number; last?: number } {
  const post = top.maybe('post_processor');
  const all = post?.string('type') === 'Sequence' ? post.objects('processors') : post ? [post] : [];
  const template = all.find((p) => p.string('type') === 'TemplateProcessing');
  if (!template) return {};
  const special = template.object('special_tokens');
  const single = template.array('single');
  const at = single.findIndex((s) => isObject(s) && isObject(s.Sequence));
  const id = (s: Json | undefined) => {
    const name = isObject(s) && isObject(s.SpecialToken) ? s.SpecialToken.id : undefined;
    if (typeof name !== 'string') throw template.wrong('single', single, 'at most one special token on each side of a sequence');
    const [first] = special.object(name).array('ids');
    if (typeof first !== 'number' || !(first >= 0 && first <= MAX_ID)) throw special.wrong(name, first, 'a token with an id');
    return first;
  };
  if (at < 0 || at > 1 || single.length - at > 2)
    throw template.wrong('single', single, 'at most one special token on each side of a sequence');
  return { ...(at === 1 && { first: id(single[0]) }), ...(single.length > at + 1 && { last: id(single[at + 1]) }) };
}
