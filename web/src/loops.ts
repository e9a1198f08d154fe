/** Notices an answer that has begun to repeat itself. */

const LONGEST = 400; // characters of a unit that is repeated
const TAIL = 1600; // characters that are looked at
const TIMES = 4; // a short unit must come so often …
const LEAST = 120; // … and fill so many characters

/**
 * The text that the end of `text` repeats, or undefined. A unit of up to LONGEST characters must stand there at least TIMES
 * times in a row and fill LEAST characters; rules, rows of dots and the like (units without two letters or digits) are no loop.
 */
export function loopOf(text: string): string | undefined {
  const tail = text.slice(-TAIL);
  for (let size = 1; size <= Math.min(LONGEST, Math.floor(tail.length / TIMES)); size++) {
    let same = 0;
    while (same < tail.length - size && tail[tail.length - 1 - same] === tail[tail.length - 1 - same - size]) same++;
    if (same + size < Math.max(LEAST, size * TIMES)) continue;
    const unit = tail.slice(-size);
    if (/[\p{L}\p{N}].*[\p{L}\p{N}]/su.test(unit) || (size === 1 && /[\p{L}\p{N}]/u.test(unit))) return unit;
  }
  return undefined;
}
