import type { PlacementRule } from './config.ts';

/** A replica that could take the request now. All in tokens. */
export interface Candidate {
  id: string;
  /** Of this prompt, probably held in its pages. */
  matched: number;
  /** Prompt tokens it was given and has not computed yet. */
  backlog: number;
  running: number;
}

/**
 * Which replica runs a prompt. The rule `cache` is Mooncake's estimate in tokens: take the lowest
 *
 *   backlog + sequenceTokens · running + weight · (prompt − matched)        weight: uncachedWeight, at most 1 where nothing runs
 *
 * so the replica that holds most of the prompt wins until its extra backlog is `uncachedWeight` times what its pages save;
 * that is when it counts as overloaded. A weight above 1 says that computing a prompt twice also takes room from other
 * pages: on the Mooncake trace (bench/simulate) 3 gave the best p95 of 1, 2, 3, 4 and 8. In an idle replica it keeps nobody waiting and
 * counts as it is. `sequenceTokens` is what a stream costs that decodes beside: two on one core are little faster together than one, so that
 * streams which come at once go to idle cores, unless a long prompt's pages are held elsewhere. On that trace 64, 256 and 512 are the same to 1 %.
 * Ties go to the longer match, then to the order given.
 *
 * `thresholds` is SGLang's gateway: the shortest queue when they differ by more than 64 requests and a factor of 1.5, else
 * the longest match if it is above 0.3 of the prompt, else the shortest queue. It and the others are there to be compared with.
 *
 * @param turn counts placements, for round-robin
 * @param random in [0, 1)
 */
export function place(rule: PlacementRule, prompt: number, candidates: readonly Candidate[], turn: number, random: number): Candidate {
  if (candidates.length === 0) throw new Error('place: no candidate; check for a free replica before calling');
  if (rule.kind === 'round-robin') return candidates[turn % candidates.length]!;
  if (rule.kind === 'random') return candidates[Math.min(candidates.length - 1, Math.floor(random * candidates.length))]!;
  if (rule.kind === 'thresholds') return byThresholds(prompt, candidates);
  const weight = rule.kind === 'cache' ? rule.uncachedWeight : 0;
  let best = candidates[0]!;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const c of candidates) {
    const uncached = (c.running === 0 ? Math.min(1, weight) : weight) * Math.max(0, prompt - c.matched);
    const cost = c.backlog + rule.sequenceTokens * c.running + uncached;
    if (cost < bestCost || (cost === bestCost && c.matched > best.matched)) {
      best = c;
      bestCost = cost;
    }
  }
  return best;
}

function byThresholds(prompt: number, candidates: readonly Candidate[]): Candidate {
  let shortest = candidates[0]!;
  let longest = candidates[0]!;
  let most = 0;
  for (const c of candidates) {
    if (c.running < shortest.running) shortest = c;
    if (c.matched > longest.matched) longest = c;
    most = Math.max(most, c.running);
  }
  if (most - shortest.running > 64 && most > 1.5 * shortest.running) return shortest;
  return longest.matched > 0.3 * prompt ? longest : shortest;
}
