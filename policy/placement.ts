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
 *   backlog + sequenceTokens · running + uncachedWeight · (prompt − matched)
 *
 * so the replica that holds most of the prompt wins until its extra backlog costs more than its pages save; that is
 * when it counts as overloaded. (SGLang's gateway says the same with two fixed thresholds, a difference above 64 requests
 * and a ratio above 1.5, and takes a match only above 0.3; Dynamo adds active decode blocks as `sequenceTokens` does.)
 * Ties go to the longer match, then to the order given. The other rules are there to be compared with.
 *
 * @param turn counts placements, for round-robin
 * @param random in [0, 1)
 */
export function place(rule: PlacementRule, prompt: number, candidates: readonly Candidate[], turn: number, random: number): Candidate {
  if (candidates.length === 0) throw new Error('place: no candidate; check for a free replica before calling');
  if (rule.kind === 'round-robin') return candidates[turn % candidates.length]!;
  if (rule.kind === 'random') return candidates[Math.min(candidates.length - 1, Math.floor(random * candidates.length))]!;
  const weight = rule.kind === 'cache' ? rule.uncachedWeight : 0;
  let best = candidates[0]!;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const c of candidates) {
    const cost = c.backlog + rule.sequenceTokens * c.running + weight * Math.max(0, prompt - c.matched);
    if (cost < bestCost || (cost === bestCost && c.matched > best.matched)) {
      best = c;
      bestCost = cost;
    }
  }
  return best;
}
