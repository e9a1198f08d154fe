/** GPT-2's split, which `ByteLevel` of Hugging Face's tokenizers applies too. */
export const GPT2_SPLIT = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const QWEN2 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const DIGITS = ['\\p{N}', GPT2_SPLIT];
const DEFAULT = ['[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2_SPLIT, '\\p{N}+', '[0-9][0-9][0-9]'];

/** Splits by the name GGUF gives them in `tokenizer.ggml.pre` (llama.cpp, llama-vocab.cpp). */
export const namedSplits: Readonly<Record<string, readonly string[]>> = {
  default: DEFAULT,
  'gpt-2': [GPT2_SPLIT],
  gpt2: [GPT2_SPLIT],
  phi2: [GPT2_SPLIT],
  olmo: [GPT2_SPLIT],
  dbrx: [LLAMA3],
  'llama-bpe': [LLAMA3],
  'llama-v3': [LLAMA3],
  llama3: [LLAMA3],
  lfm2: [LLAMA3],
  smaug: [LLAMA3],
  'smaug-bpe': [LLAMA3],
  qwen2: [QWEN2],
  'deepseek-r1-qwen': [QWEN2],
  smollm: DIGITS,
  starcoder: DIGITS,
  refact: DIGITS,
  codeshell: DIGITS,
};

/**
 * A splitting expression of Hugging Face or llama.cpp (Oniguruma's and PCRE's dialect) as JavaScript's: Unicode white space for \s
 * (JavaScript's has U+FEFF and lacks U+0085), case-insensitive groups written out, possessive quantifiers as greedy ones.
 * Throws SyntaxError when the rest is not JavaScript's dialect.
 */
export function splitRegExp(pattern: string): RegExp {
  const source = pattern
    .replace(/\(\?i:([^()]*)\)/g, (_, body: string) => `(?:${body.replace(/(?<!\\)[a-zA-Z]/g, bothCases)})`)
    .replace(/\\s/g, '\\p{White_Space}')
    .replace(/\\S/g, '\\P{White_Space}')
    .replace(/(?<!\\)([?*+]|\{\d+(?:,\d*)?\})\+/g, '$1');
  return new RegExp(source, 'gu');
}

const bothCases = (c: string) => `[${c.toLowerCase()}${c.toUpperCase()}${c.toLowerCase() === 's' ? 'ſ' : ''}]`;

/** Pieces of a text after all splits in turn. */
export function* pieces(text: string, splits: readonly RegExp[], depth = 0): Generator<string> {
  if (depth === splits.length) {
    if (text !== '') yield text;
    return;
  }
  const last = depth === splits.length - 1;
  let from = 0;
  for (const m of text.matchAll(splits[depth])) {
    if (m[0] === '') continue;
    if (m.index > from) yield* pieces(text.slice(from, m.index), splits, depth + 1);
    if (last) yield m[0];
    else yield* pieces(m[0], splits, depth + 1);
    from = m.index + m[0].length;
  }
  if (from < text.length) yield* pieces(from === 0 ? text : text.slice(from), splits, depth + 1);
}
