/** How an answer is checked; the same rules as training/evaluate.py. */
export interface Check {
  type: 'exact' | 'ends' | 'contains' | 'contains-any' | 'contains-all' | 'last-number' | 'json-equal' | 'tool-call';
  expected: unknown;
  /** `contains`: words that must not occur. */
  not?: unknown[];
}

export function right(check: Check, text: string): boolean {
  const want = check.expected;
  switch (check.type) {
    case 'exact':
      return bare(text) === bare(String(want));
    case 'ends':
      return bare(text).endsWith(String(want));
    case 'contains':
      return has(text, want) && !(check.not ?? []).some((x) => has(text, x));
    case 'contains-any':
      return (want as unknown[]).some((x) => text.toLowerCase().includes(String(x).toLowerCase()));
    case 'contains-all':
      return (want as unknown[]).every((x) => has(text, x));
    case 'last-number':
      return Number(text.match(/-?\d+/g)?.at(-1) ?? Number.NaN) === want;
    case 'json-equal':
      return equal(parsed(text), want);
    case 'tool-call':
      return equal(parsed(/^\s*<tool_call>\s*(\{[\s\S]*\})\s*<\/tool_call>\s*$/.exec(text)?.[1] ?? ''), want);
  }
}

const bare = (s: string): string => s.trim().replace(/\.+$/, '');

/** Whole-word, case-insensitive. */
function has(text: string, value: unknown): boolean {
  const v = String(value)
    .toLowerCase()
    .replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`(?<![a-z0-9])${v}(?![a-z0-9])`).test(text.toLowerCase());
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Equal as JSON, whatever the order of keys. */
function equal(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((k) => equal((a as Json)[k], (b as Json)[k]));
}

type Json = Record<string, unknown>;
