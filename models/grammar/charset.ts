/** Sets of Unicode code points: sorted, disjoint, non-adjacent ranges, flat as lo, hi, lo, hi … (inclusive). */
export type CharSet = readonly number[];

/** Every code point a JSON string can hold: all but the surrogates. */
export const ANY: CharSet = [0, 0xd7ff, 0xe000, 0x10ffff];
export const NONE: CharSet = [];

/** Union of ranges given in any order, without surrogates. */
export function union(...sets: readonly CharSet[]): CharSet {
  const pairs: [number, number][] = [];
  for (const s of sets) for (let i = 0; i < s.length; i += 2) pairs.push([s[i], s[i + 1]]);
  pairs.sort((a, b) => a[0] - b[0]);
  const out: number[] = [];
  for (const [lo, hi] of pairs) {
    if (hi < lo) continue;
    const last = out.length - 1;
    if (last >= 0 && lo <= out[last] + 1) out[last] = Math.max(out[last], hi);
    else out.push(lo, hi);
  }
  return intersect(out, ANY);
}

export function intersect(a: CharSet, b: CharSet): CharSet {
  const out: number[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const lo = Math.max(a[i], b[j]);
    const hi = Math.min(a[i + 1], b[j + 1]);
    if (lo <= hi) out.push(lo, hi);
    if (a[i + 1] < b[j + 1]) i += 2;
    else j += 2;
  }
  return out;
}

/** ANY without `a`. */
export function invert(a: CharSet): CharSet {
  const out: number[] = [];
  let next = 0;
  for (let i = 0; i < a.length; i += 2) {
    if (a[i] > next) out.push(next, a[i] - 1);
    next = a[i + 1] + 1;
  }
  if (next <= 0x10ffff) out.push(next, 0x10ffff);
  return intersect(out, ANY);
}

export function has(a: CharSet, cp: number): boolean {
  for (let i = 0; i < a.length; i += 2) if (cp >= a[i] && cp <= a[i + 1]) return true;
  return false;
}

/** Code points of a string; a lone surrogate becomes U+FFFD, as in UTF-8 encoding. */
export function codePoints(s: string): number[] {
  return Array.from(s, (c) => {
    const cp = c.codePointAt(0) as number;
    return cp >= 0xd800 && cp <= 0xdfff ? 0xfffd : cp;
  });
}
