import type { GrammarVocab } from '../../models/grammar/index.ts';

const utf8 = new TextEncoder();
export const bytes = (s: string): Uint8Array => utf8.encode(s);

/** Special tokens are given as { special }. The last token ends a text. */
export function vocabulary(tokens: readonly (string | Uint8Array | { special: string })[]): GrammarVocab {
  const all = [...tokens, { special: '<|im_end|>' }];
  const texts = all.map((t) => (t instanceof Uint8Array ? t : bytes(typeof t === 'string' ? t : t.special)));
  return {
    size: all.length,
    stopIds: [all.length - 1],
    isSpecial: (id) => typeof all[id] === 'object' && !(all[id] instanceof Uint8Array),
    bytesOf: (id) => texts[id],
  };
}

export const allBytes: readonly Uint8Array[] = Array.from({ length: 256 }, (_, b) => Uint8Array.of(b));

/** 256 bytes, then pieces that cross the borders of JSON's tokens, some of them twice. */
export const small: GrammarVocab = vocabulary([
  ...allBytes,
  ...[
    '{"',
    '"}',
    '": ',
    '": "',
    '", "',
    '"]',
    '[]',
    '{}',
    '}}',
    '}]',
    '], ',
    '}, {',
    '"}, {"',
    ' "',
    ', ',
    ': ',
    ', "',
    'true',
    'false',
    'null',
  ],
  ...[
    'name',
    'age',
    '"name',
    '"age": ',
    'a',
    'ab',
    'abc',
    '12',
    '123',
    '0.',
    '.5',
    '-1',
    'e-',
    '\\u',
    '\\n',
    '\\"',
    '\\',
    'é',
    '日本',
    '😀',
    ' ',
  ],
  bytes('日').subarray(0, 2),
  bytes('😀').subarray(1),
  ...[
    'the',
    ' the',
    ' quick',
    'abcabcabcabc',
    '          ',
    '2024',
    '-0',
    '01',
    'T',
    '@',
    '.com',
    '<tool',
    '<tool_call>',
    '</tool_call>',
    '>\n',
  ],
  ...['\n{"name": "', '"arguments": {', '}\n</', 'call>\n{', '\n', '\n\n'],
  { special: '<|im_start|>' },
  { special: '<tool_call>' },
  { special: '</tool_call>' },
]);

/** A repeatable source of numbers in [0, 1) (mulberry32). */
export function random(seed: number): () => number {
  let s = seed;
  return () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Python's json.dumps, keys in the object's order. */
export function dumps(v: unknown): string {
  if (Array.isArray(v)) return `[${v.map(dumps).join(', ')}]`;
  if (typeof v !== 'object' || v === null) return JSON.stringify(v);
  return `{${Object.entries(v)
    .map(([k, x]) => `${JSON.stringify(k)}: ${dumps(x)}`)
    .join(', ')}}`;
}
