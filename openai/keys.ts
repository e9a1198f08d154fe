/** Shorter keys could be guessed. */
const SHORTEST = 8;

/** The keys in `API_KEYS`: comma-separated, each `key` or `name:key`; none where it is empty. Throws with what is wrong. */
export function keysIn(secret: string | undefined): string[] {
  if ((secret?.trim() ?? '') === '') return [];
  const keys = secret!
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map((entry) => entry.slice(entry.indexOf(':') + 1));
  if (keys.length === 0) throw new Error('API_KEYS is set but holds no key; unset it to let everybody in');
  if (keys.some((key) => key.length < SHORTEST)) throw new Error(`API_KEYS: a key has fewer than ${SHORTEST} characters`);
  return keys;
}
