import { isRecord } from './json.ts';

/** What the reader set. `null` leaves the choice to the server. */
export interface Settings {
  model: string | null;
  system: string;
  temperature: number | null; // 0..2
  topP: number | null; // 0..1
  maxTokens: number | null; // 1..
  seed: number | null; // any whole number
  theme: 'auto' | 'light' | 'dark';
  /** Answers come from an engine in this browser, not from the server. */
  device: boolean;
}

export const DEFAULTS: Settings = {
  model: null,
  system: '',
  temperature: null,
  topP: null,
  maxTokens: null,
  seed: null,
  theme: 'auto',
  device: false,
};

/** The bounds of each number, as the API has them. */
export const BOUNDS = {
  temperature: { min: 0, max: 2, step: 0.1 },
  topP: { min: 0, max: 1, step: 0.05 },
  maxTokens: { min: 1, max: 1_000_000, step: 1 },
  seed: { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 },
} as const;

export type NumberSetting = keyof typeof BOUNDS;

/** What was typed into a number field: a number within its bounds, or null (the server's default). */
export function readNumber(name: NumberSetting, typed: string): number | null {
  if (typed.trim() === '') return null;
  const value = Number(typed);
  if (!Number.isFinite(value)) return null;
  const { min, max, step } = BOUNDS[name];
  return Math.min(max, Math.max(min, step === 1 ? Math.round(value) : value));
}

/** The tools as the API takes them; throws with what is wrong. */
export function readTools(text: string): unknown[] | undefined {
  if (text.trim() === '') return undefined;
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value)) throw new Error('tools must be a JSON array');
  const bad = value.findIndex((tool) => !isRecord(tool) || tool.type !== 'function' || !isRecord(tool.function));
  if (bad >= 0) throw new Error(`tool ${bad + 1} must be {"type": "function", "function": {"name": …}}`);
  return value.length ? value : undefined;
}

/** Settings from storage; anything that is not one takes its default. */
export function readSettings(stored: unknown): Settings {
  const from = isRecord(stored) ? stored : {};
  const text = (value: unknown) => (typeof value === 'string' ? value.slice(0, 100_000) : '');
  const number = (name: NumberSetting) => (typeof from[name] === 'number' ? readNumber(name, String(from[name])) : null);
  return {
    model: text(from.model) || null,
    system: text(from.system),
    temperature: number('temperature'),
    topP: number('topP'),
    maxTokens: number('maxTokens'),
    seed: number('seed'),
    theme: from.theme === 'light' || from.theme === 'dark' ? from.theme : 'auto',
    device: from.device === true,
  };
}
