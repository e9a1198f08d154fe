/** Shorter keys could be guessed. */
const SHORTEST = 8;

/** The keys in `API_KEYS`: comma-separated, each `key` or `name:key`; none where it is not set. Throws with what is wrong: a blank one, too, is a mistake and lets nobody in. */
export function keysIn(secret: string | undefined): string[] {
  if (secret === undefined) return [];
  const keys = secret
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map((entry) => entry.slice(entry.indexOf(':') + 1));
  if (keys.length === 0) throw new Error('API_KEYS is set but holds no key; give it one, or unset it');
  if (keys.some((key) => key.length < SHORTEST)) throw new Error(`API_KEYS: a key has fewer than ${SHORTEST} characters`);
  return keys;
}
