/** Token bucket of one tenant: `tokens` sequences may start at once, refilled with time; below 0 they are owed. JSON as it stands. */
export interface Bucket {
  tokens: number;
  at: number;
}

/** The bucket filled up to `now`. A clock that went back changes nothing. */
export function refill(b: Bucket, perMinute: number, burst: number, now: number): Bucket {
  const size = bucketSize(perMinute, burst);
  if (now <= b.at) return b;
  return { tokens: Math.min(size, b.tokens + ((now - b.at) * perMinute) / 60_000), at: now };
}

/** ms until a request may start; 0 is now. */
export function bucketWait(b: Bucket, perMinute: number): number {
  return b.tokens >= 1 ? 0 : ((1 - b.tokens) * 60_000) / perMinute;
}

/** Requests that may start at once: `burst`, or a tenth of a minute's worth. */
export function bucketSize(perMinute: number, burst: number): number {
  return Math.max(1, burst > 0 ? burst : Math.ceil(perMinute / 10));
}
