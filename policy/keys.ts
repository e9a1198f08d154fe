/** Shorter keys could be guessed. */
const SHORTEST = 8;

export interface NamedKey {
  /** Whose it is: keys of one name are one tenant, so that a key can be replaced and both hold for a while. Undefined: the key's own. */
  name?: string;
  key: string;
}

const read = (secret: string): NamedKey[] =>
  secret
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map((entry) => ({
      name: entry.slice(0, Math.max(0, entry.indexOf(':'))).trim() || undefined,
      key: entry.slice(entry.indexOf(':') + 1),
    }));

/** What is wrong with `API_KEYS`: a blank one, too, is a mistake and lets nobody in. */
export function faultOfKeys(secret: string): string | undefined {
  const keys = read(secret);
  if (keys.length === 0) return 'is set but holds no key; give it one, or unset it';
  if (keys.some(({ key }) => key.length < SHORTEST)) return `has a key of fewer than ${SHORTEST} characters`;
  return new Set(keys.map(({ key }) => key)).size < keys.length ? 'has one key twice; whose it is would not be clear' : undefined;
}

/** `API_KEYS`: comma-separated, each `key` or `name:key`; none where it is not set. Throws with what is wrong. */
export function namedKeysIn(secret: string | undefined): NamedKey[] {
  const fault = secret === undefined ? undefined : faultOfKeys(secret);
  if (fault !== undefined) throw new Error(`API_KEYS ${fault}`);
  return read(secret ?? '');
}

/** The keys alone. */
export const keysIn = (secret: string | undefined): string[] => namedKeysIn(secret).map(({ key }) => key);
