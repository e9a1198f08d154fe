/** A learned rate: an exponentially weighted mean, held inside bounds so that one wild sample cannot steer the policy. JSON as it stands. */
export interface Ewma {
  value: number;
  samples: number;
}

export interface EwmaRule {
  /** Weight of a new sample, 0..1. The first `1 / alpha` samples are averaged plainly, so that the start does not stick. */
  alpha: number;
  min: number;
  max: number;
}

export const ewma = (value: number): Ewma => ({ value, samples: 0 });

const clamp = (x: number, lo: number, hi: number) => (x < lo ? lo : x > hi ? hi : x);

/** The mean after one more sample. A sample that is not a finite number is ignored. */
export function observe(e: Ewma, sample: number, rule: EwmaRule): Ewma {
  if (!Number.isFinite(sample)) return e;
  const s = clamp(sample, rule.min, rule.max);
  const weight = Math.max(rule.alpha, 1 / (e.samples + 1));
  return { value: clamp(e.value + weight * (s - e.value), rule.min, rule.max), samples: e.samples + 1 };
}
