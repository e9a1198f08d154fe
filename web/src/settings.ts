import { isRecord } from './json.ts';

/** What decides how an answer is drawn. `null` leaves the choice to the server. */
export interface Sampling {
  temperature: number | null; // 0..2
  topP: number | null; // 0..1
  topK: number | null; // 0: off
  minP: number | null; // 0..1
  repetition: number | null; // 1: off
  frequency: number | null; // -2..2
  presence: number | null; // -2..2
  maxTokens: number | null; // 1..
  seed: number | null; // any whole number
  /** Up to four texts that end an answer. */
  stop: string[];
}

/** A system prompt and sampling under a name. */
export interface Preset {
  name: string;
  system: string;
  sampling: Sampling;
}

/** What the reader set. */
export interface Settings extends Sampling {
  model: string | null;
  /** The system prompt of new chats. */
  system: string;
  presets: Preset[];
  theme: 'auto' | 'light' | 'dark';
  /** Answers come from an engine in this browser, not from the server. */
  device: boolean;
  /** The server goes on with an answer when this page does not listen. */
  keep: boolean;
  /** An answer that repeats itself is stopped. */
  stopLoops: boolean;
}

export const SAMPLING: Sampling = {
  ...{ temperature: null, topP: null, topK: null, minP: null, repetition: null },
  ...{ frequency: null, presence: null, maxTokens: null, seed: null, stop: [] },
};

export const DEFAULTS: Settings = {
  ...SAMPLING,
  ...{ model: null, system: '', presets: [], theme: 'auto', device: false, keep: true, stopLoops: true },
};

/** The bounds of each number, as the API has them. */
export const BOUNDS = {
  temperature: { min: 0, max: 2, step: 0.1 },
  topP: { min: 0, max: 1, step: 0.05 },
  topK: { min: 0, max: (1 << 20) - 1, step: 1 },
  minP: { min: 0, max: 1, step: 0.01 },
  repetition: { min: 0.01, max: 10, step: 0.05 },
  frequency: { min: -2, max: 2, step: 0.1 },
  presence: { min: -2, max: 2, step: 0.1 },
  maxTokens: { min: 1, max: 1 << 20, step: 1 },
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

/** Stop texts, one a line; `\n` in a line is a line break. The API takes four of 256. */
export const readStops = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .slice(0, 4)
    .map((line) => line.replaceAll('\\n', '\n').slice(0, 256));
export const showStops = (stops: readonly string[]): string => stops.map((stop) => stop.replaceAll('\n', '\\n')).join('\n');

/** The tools as the API takes them; throws with what is wrong. */
export function readTools(text: string): Record<string, unknown>[] | undefined {
  if (text.trim() === '') return undefined;
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value)) throw new Error('tools must be a JSON array');
  const bad = value.findIndex((tool) => !isRecord(tool) || tool.type !== 'function' || !isRecord(tool.function));
  if (bad >= 0) throw new Error(`tool ${bad + 1} must be {"type": "function", "function": {"name": …}}`);
  return value.length ? value : undefined;
}

/** The JSON schema of answers; throws with what is wrong. */
export function readSchema(text: string): Record<string, unknown> | undefined {
  if (text.trim() === '') return undefined;
  const value: unknown = JSON.parse(text);
  if (!isRecord(value)) throw new Error('a schema must be a JSON object');
  return value;
}

const text = (value: unknown) => (typeof value === 'string' ? value.slice(0, 100_000) : '');

/** Sampling from storage or a file; whatever is not understood is the default. */
export function readSampling(stored: unknown): Sampling {
  const from = isRecord(stored) ? stored : {};
  const number = (name: NumberSetting) => (typeof from[name] === 'number' ? readNumber(name, String(from[name])) : null);
  const names = Object.keys(BOUNDS) as NumberSetting[];
  const numbers = Object.fromEntries(names.map((name) => [name, number(name)])) as Record<NumberSetting, number | null>;
  const stop = Array.isArray(from.stop) ? from.stop.filter((s): s is string => typeof s === 'string' && s !== '') : [];
  return { ...numbers, stop: stop.slice(0, 4).map((s) => s.slice(0, 256)) };
}

/** Settings from storage; whatever is not understood is the default. */
export function readSettings(stored: unknown): Settings {
  const from = isRecord(stored) ? stored : {};
  const presets = (Array.isArray(from.presets) ? from.presets.slice(0, 100) : []).flatMap((preset: unknown): Preset[] =>
    isRecord(preset) && text(preset.name)
      ? [{ name: text(preset.name).slice(0, 100), system: text(preset.system), sampling: readSampling(preset.sampling) }]
      : [],
  );
  return {
    ...readSampling(from),
    model: text(from.model) || null,
    system: text(from.system),
    presets,
    theme: from.theme === 'light' || from.theme === 'dark' ? from.theme : 'auto',
    device: from.device === true,
    keep: from.keep !== false,
    stopLoops: from.stopLoops !== false,
  };
}
