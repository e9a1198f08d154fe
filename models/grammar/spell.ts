import { type CharSet, has, intersect } from './charset.ts';

/** One way to write a character: a list of bytes, each a list of ranges lo, hi, lo, hi … */
export type Spelling = readonly (readonly number[])[];

const SHORT = new Map([
  [0x08, 'b'],
  [0x09, 't'],
  [0x0a, 'n'],
  [0x0c, 'f'],
  [0x0d, 'r'],
  [0x22, '"'],
  [0x5c, '\\'],
]);

/** Written as themselves: printable ASCII and DEL, without quote and backslash. */
const PLAIN: CharSet = [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f];
/** Controls without a short escape. */
const CONTROLS: CharSet = [0x00, 0x07, 0x0b, 0x0b, 0x0e, 0x1f];
const WIDE: CharSet = [0x80, 0x10ffff];

/** Numbers lo..hi of `n` digits in a radix, as products of digit ranges. */
function splitDigits(lo: number, hi: number, radix: number, n: number): [number, number][][] {
  if (n === 1) return [[[lo, hi]]];
  const base = radix ** (n - 1);
  let a = Math.floor(lo / base);
  let b = Math.floor(hi / base);
  const prefixed = (d: number, from: number, to: number) =>
    splitDigits(from, to, radix, n - 1).map((rest): [number, number][] => [[d, d], ...rest]);
  if (a === b) return prefixed(a, lo % base, hi % base);
  const out: [number, number][][] = [];
  if (lo % base !== 0) out.push(...prefixed(a++, lo % base, base - 1));
  const tail = hi % base !== base - 1 ? prefixed(b--, 0, hi % base) : [];
  if (a <= b) out.push([[a, b], ...Array.from({ length: n - 1 }, (): [number, number] => [0, radix - 1])]);
  return [...out, ...tail];
}

/** [first code point, last, bytes, mark of the first byte] of UTF-8 (RFC 3629); surrogates are no code points here. */
const UTF8: readonly (readonly [number, number, number, number])[] = [
  [0, 0x7f, 1, 0],
  [0x80, 0x7ff, 2, 0xc0],
  [0x800, 0xffff, 3, 0xe0],
  [0x10000, 0x10ffff, 4, 0xf0],
];

/** The characters of a set in UTF-8. */
export function utf8Spellings(set: CharSet): Spelling[] {
  const out: Spelling[] = [];
  for (let i = 0; i < set.length; i += 2) {
    for (const [a, b, n, mark] of UTF8) {
      if (set[i] > b || set[i + 1] < a) continue;
      for (const digits of splitDigits(Math.max(set[i], a), Math.min(set[i + 1], b), 64, n)) {
        out.push(digits.map(([x, y], k) => (k === 0 ? [mark + x, mark + y] : [0x80 + x, 0x80 + y])));
      }
    }
  }
  return out;
}

const hexRange = ([lo, hi]: [number, number]): number[] => {
  const out: number[] = [];
  if (lo <= 9) out.push(0x30 + lo, 0x30 + Math.min(hi, 9));
  if (hi >= 10) out.push(0x57 + Math.max(lo, 10), 0x57 + hi);
  return out;
};
const escapeU = [
  [0x5c, 0x5c],
  [0x75, 0x75],
];
const hex4 = (lo: number, hi: number): Spelling[] => splitDigits(lo, hi, 16, 4).map((d) => [...escapeU, ...d.map(hexRange)]);

/**
 * How a JSON string writes the characters of a set, as Python's json.dumps does with or without ensure_ascii: printable ASCII as
 * itself, controls, quote and backslash by their one short escape (or \u00xx), everything else in UTF-8 or as \uxxxx in lower case.
 * Beyond U+FFFF the escaped pair is offered only where the whole range is in the set. `\/` is never written. `spells`: whether a byte can
 * be written; where one cannot, the long escape stands in its place.
 */
export function spellings(set: CharSet, spells: (byte: number) => boolean): Spelling[] {
  const out: Spelling[] = [];
  for (const [cp, letter] of SHORT) {
    const short = letter.charCodeAt(0);
    if (!has(set, cp)) continue;
    if (!spells(short)) out.push(...hex4(cp, cp));
    else
      out.push([
        [0x5c, 0x5c],
        [short, short],
      ]);
  }
  const ranges = (within: CharSet, write: (lo: number, hi: number) => Spelling[]) => {
    const part = intersect(set, within);
    for (let i = 0; i < part.length; i += 2) out.push(...write(part[i], part[i + 1]));
  };
  ranges(CONTROLS, hex4);
  ranges(PLAIN, (lo, hi) => [[[lo, hi]]]);
  for (let c = 0x20; c < 0x80; c++) if (!spells(c)) ranges(intersect(PLAIN, [c, c]), hex4);
  ranges(WIDE, (lo, hi) => utf8Spellings([lo, hi]));
  ranges([0x80, 0xffff], hex4);
  if (has(set, 0x10000) && intersect(set, [0x10000, 0x10ffff]).length === 2 && has(set, 0x10ffff)) {
    for (const high of hex4(0xd800, 0xdbff)) for (const low of hex4(0xdc00, 0xdfff)) out.push([...high, ...low]);
  } else if (set.length === 2 && set[0] === set[1] && set[0] >= 0x10000 && !utf8Spellings(set)[0].every(([byte]) => spells(byte))) {
    const text = String.fromCodePoint(set[0]);
    out.push([0, 1].flatMap((i) => hex4(text.charCodeAt(i), text.charCodeAt(i))[0]));
  }
  return out;
}
