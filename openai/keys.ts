/** Shorter keys could be guessed. */
const SHORTEST = 8;

export interface NamedKey {
  /** Whose it is: keys of one name are one tenant, so that a key can be replaced and both hold for a while. Undefined: the key's own. */
  name?: string;
  key: string;
}

/** `API_KEYS`: comma-separated, each `key` or `name:key`; none where it is not set. Throws with what is wrong: a blank one, too, is a mistake and lets nobody in. */
export function namedKeysIn(secret: string | undefined): NamedKey[] {
  if (secret === undefined) return [];
  const keys = secret
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map((entry) => ({
      name: entry.slice(0, Math.max(0, entry.indexOf(':'))).trim() || undefined,
      key: entry.slice(entry.indexOf(':') + 1),
    }));
  if (keys.length === 0) throw new Error('API_KEYS is set but holds no key; give it one, or unset it');
  if (keys.some(({ key }) => key.length < SHORTEST)) throw new Error(`API_KEYS: a key has fewer than ${SHORTEST} characters`);
  if (new Set(keys.map(({ key }) => key)).size < keys.length)
    throw new Error('API_KEYS: a key stands there twice; whose it is would not be clear');
  return keys;
}

/** The keys alone. */
export const keysIn = (secret: string | undefined): string[] => namedKeysIn(secret).map(({ key }) => key);
