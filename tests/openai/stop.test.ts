import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StopMatcher } from '../../openai/stop.ts';

/** The definition, in one line a character: the stop string that is complete first, and of those the longest, cuts the text. */
function naive(text: string, stops: string[]): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops.filter((s) => text.slice(0, end).endsWith(s)).sort((a, b) => b.length - a.length)[0];
    if (found) return { text: text.slice(0, end - found.length), stopped: true };
  }
  return { text, stopped: false };
}

/** Cuts `text` at random places. */
function pieces(text: string, cuts: number[]): string[] {
  const at = [...new Set([0, text.length, ...cuts.map((c) => c % (text.length + 1))])].sort((a, b) => a - b);
  return at.slice(1).map((end, i) => text.slice(at[i], end));
}

const small = (max: number, min = 0) => fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: min, maxLength: max });

describe('StopMatcher', () => {
  it('agrees with the definition for every text, stop strings and cuts', () => {
    fc.assert(
      fc.property(small(40), fc.array(small(6, 1), { maxLength: 4 }), fc.array(fc.nat(100)), (text, stops, cuts) => {
        const matcher = new StopMatcher(stops);
        let out = '';
        for (const piece of pieces(text, cuts)) {
          out += matcher.push(piece);
          if (matcher.stopped) break;
        }
        const stopped = matcher.stopped;
        out += matcher.flush();
        expect({ text: out, stopped }).toEqual(naive(text, stops));
      }),
      { numRuns: 5000 },
    );
  });

  it('holds back exactly what may still become a stop string', () => {
    fc.assert(
      fc.property(small(30), fc.array(small(6, 1), { minLength: 1, maxLength: 3 }), (text, stops) => {
        const matcher = new StopMatcher(stops);
        let shown = '';
        for (let i = 0; i < text.length && !matcher.stopped; i++) {
          shown += matcher.push(text[i]);
          if (matcher.stopped) return;
          const seen = text.slice(0, i + 1);
          const longest = Math.max(
            ...stops.flatMap((s) => Array.from({ length: s.length }, (_, k) => (seen.endsWith(s.slice(0, k)) ? k : 0))),
          );
          expect(seen.length - shown.length).toBe(longest);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('does not split a character between what is shown and what is held', () => {
    const matcher = new StopMatcher(['😀!']);
    expect(matcher.push('a😁😀')).toBe('a😁');
    expect(matcher.push('?')).toBe('😀?');
  });
});
