import { bpeEncoder, type PieceEncoder } from './bpe.ts';
import { type TokenizerSpec, TokenType } from './spec.ts';
import { SpecialMatcher } from './special.ts';
import { pieces, splitRegExp } from './split.ts';
import { spmEncoder } from './spm.ts';
import { Vocabulary } from './vocabulary.ts';

export interface EncodeOptions {
  /** Texts of control tokens, such as `<|im_end|>`, become those tokens. Never for text that a user wrote. Default false. */
  special?: boolean;
  /** Whether the text starts with the bos token; default: as the model's files say. */
  bos?: boolean;
  /** A character that is left out of the text, after control tokens were looked for: it keeps a client's text from spelling one. */
  drop?: string;
  /** Most ids that are of use: a text that gives more ends with TextTooLong, as soon as that is known. */
  limit?: number;
}

/** A text has more tokens than were asked for; `atLeast` so many. */
export class TextTooLong extends Error {
  override readonly name = 'TextTooLong';
  readonly atLeast: number;

  constructor(atLeast: number) {
    super(`the text has at least ${atLeast} tokens`);
    this.atLeast = atLeast;
  }
}

export interface TokenStream {
  /** Text that the token completes: never half a character, so it may be empty. */
  push(id: number): string;
  /** What is left: U+FFFD when the tokens ended within a character. */
  flush(): string;
}

export interface Tokenizer {
  /** Number of ids. */
  readonly vocab: number;
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  /** Ids that end an answer. */
  readonly stopIds: readonly number[];
  /** Control tokens. */
  readonly specialIds: readonly number[];
  isSpecial(id: number): boolean;
  /** A control or user-defined token by its text. */
  idOf(text: string): number | undefined;
  /** Throws TextTooLong beyond `limit`. */
  encode(text: string, options?: EncodeOptions): number[];
  /** UTF-16 units that one id stands for at most. */
  readonly most: number;
  /** Ids that a text of so many UTF-16 units has at least. */
  fewest(units: number): number;
  /** Text of ids; with `skipSpecial`, control tokens give nothing. */
  decode(ids: readonly number[], options?: { skipSpecial?: boolean }): string;
  /** Bytes that a token stands for (a control token: its text). Empty for an unknown id. */
  bytesOf(id: number): Uint8Array;
  /** Token by token; control tokens give nothing unless `skipSpecial` is false. `start`: the text begins here, not amid other text. */
  stream(options?: { skipSpecial?: boolean; start?: boolean }): TokenStream;
}

const CACHED_WORD = 32;
const CACHE_WORDS = 4096;

/** Makes a tokenizer from its data, which it keeps and does not change. */
export function createTokenizer(spec: TokenizerSpec): Tokenizer {
  const { rules, types } = spec;
  const vocabulary = new Vocabulary(spec);
  const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  const encoder = new TextEncoder();
  const encodePiece = rules.kind === 'spm' ? spmEncoder(spec, vocabulary) : bpeEncoder(spec, vocabulary);
  const splits = rules.split.map(splitRegExp);

  const idsOfType = (...wanted: number[]) => [...types.keys()].filter((id) => wanted.includes(types[id]));
  const textOf = (id: number) => utf8.decode(vocabulary.bytes(id));
  const specialIds = idsOfType(TokenType.control, TokenType.unknown);
  const matcher = (ids: number[]) =>
    new SpecialMatcher(
      ids.map((id) => [textOf(id), id] as const),
      rules.lstrip,
      rules.rstrip,
    );
  const userDefined = idsOfType(TokenType.userDefined);
  const always = matcher(userDefined);
  const withSpecial = matcher([...specialIds, ...userDefined]);
  const named = new Map([...userDefined, ...specialIds].map((id) => [textOf(id), id]));
  const isSpecial = (id: number) => types[id] === TokenType.control || types[id] === TokenType.unknown;

  // a unit is a byte or more; composing (NFC) makes at most three of them one
  const most = Math.max(vocabulary.longest, ...[...named.keys()].map((t) => t.length)) * (rules.nfc ? 3 : 1);
  const fewest = (units: number) => Math.ceil(units / most);
  const words = new WordCache(encodePiece, encoder);
  const spaces = rules.kind === 'spm' || rules.kind === 'bpe-chars';

  function encodeText(text: string, first: boolean, out: number[], limit: number, drop?: string): void {
    let t = drop ? text.replaceAll(drop, '') : text;
    if (t === '') return;
    if (rules.nfc) t = t.normalize('NFC');
    if (spaces) t = t.replaceAll('▁', ' ');
    const prefix = rules.spacePrefix === 'always' || (rules.spacePrefix === 'first' && first);
    if (prefix && !(rules.spacePrefixOnce && t.startsWith(' '))) t = ` ${t}`;
    for (const piece of splits.length > 0 ? pieces(t, splits) : [t]) {
      words.encode(piece, out);
      if (out.length > limit) throw new TextTooLong(out.length);
    }
  }

  return {
    vocab: vocabulary.size,
    bos: rules.bos,
    eos: rules.eos,
    stopIds: rules.stopIds,
    specialIds,
    isSpecial,
    idOf: (text) => named.get(text),
    most,
    fewest,
    encode(text, { special = false, bos = rules.addBos, drop, limit = Number.POSITIVE_INFINITY } = {}) {
      if (fewest(text.length) > limit) throw new TextTooLong(fewest(text.length));
      const out: number[] = [];
      if (bos && rules.bos !== undefined) out.push(rules.bos);
      let first = true;
      for (const part of (special ? withSpecial : always).split(text)) {
        if ('id' in part) out.push(part.id);
        else encodeText(part.text, first, out, limit, drop);
        first = false;
      }
      if (rules.addEos && rules.eos !== undefined) out.push(rules.eos);
      if (out.length > limit) throw new TextTooLong(out.length);
      return out;
    },
    decode(ids, { skipSpecial = false } = {}) {
      const stream = tokenStream(vocabulary, (id) => skipSpecial && isSpecial(id));
      let text = '';
      for (const id of ids) text += stream.push(id);
      text += stream.flush();
      return rules.stripSpace && text.startsWith(' ') ? text.slice(1) : text;
    },
    bytesOf: (id) => vocabulary.bytes(id),
    stream({ skipSpecial = true, start = false } = {}) {
      const stream = tokenStream(vocabulary, (id) => skipSpecial && isSpecial(id));
      return start && rules.stripSpace ? withoutFirstSpace(stream) : stream;
    },
  };
}

/** Incomplete UTF-8 stays in the decoder until it is complete or proves invalid (then U+FFFD, as the Encoding standard says). */
function tokenStream(vocabulary: Vocabulary, skip: (id: number) => boolean): TokenStream {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return {
    push: (id) => (skip(id) ? '' : decoder.decode(vocabulary.bytes(id), { stream: true })),
    flush: () => decoder.decode(),
  };
}

/** SentencePiece puts a space before the first word of a text; it is not part of the text. */
function withoutFirstSpace(stream: TokenStream): TokenStream {
  let first = true;
  const strip = (text: string) => {
    if (!first || text === '') return text;
    first = false;
    return text.startsWith(' ') ? text.slice(1) : text;
  };
  return { push: (id) => strip(stream.push(id)), flush: () => strip(stream.flush()) };
}

/** Remembers the ids of short pieces; forgets all when full, so that its size is bounded. */
class WordCache {
  readonly #encode: PieceEncoder;
  readonly #encoder: TextEncoder;
  readonly #words = new Map<string, readonly number[]>();
  readonly #scratch = new Uint8Array(CACHED_WORD * 3);

  constructor(encode: PieceEncoder, encoder: TextEncoder) {
    this.#encode = encode;
    this.#encoder = encoder;
  }

  encode(piece: string, out: number[]): void {
    if (piece.length > CACHED_WORD) {
      const bytes = this.#encoder.encode(piece);
      this.#encode(bytes, bytes.length, out);
      return;
    }
    let ids = this.#words.get(piece);
    if (!ids) {
      const fresh: number[] = [];
      const { written } = this.#encoder.encodeInto(piece, this.#scratch);
      this.#encode(this.#scratch, written, fresh);
      if (this.#words.size >= CACHE_WORDS) this.#words.clear();
      this.#words.set(piece, fresh);
      ids = fresh;
    }
    for (const id of ids) out.push(id);
  }
}
