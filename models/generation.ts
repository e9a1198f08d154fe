/** How answers are drawn where a request does not say: what a model's files recommend, and what stands in where they say nothing. */
import type { Metadata } from './gguf/metadata.ts';
import type { Fields } from './json.ts';

export interface Generation {
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  repetition?: number;
  stopIds: readonly number[];
}

/** What a model's makers recommend. */
export type Recommended = Omit<Generation, 'stopIds'>;

/**
 * llama.cpp's defaults. They cut off the tail of unlikely tokens, of which a small model draws one every few words where nothing is cut: then
 * it rambles.
 */
export const USUAL = { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05 } as const satisfies Recommended;

/** The numbers that are sensible: bounds of each, both ends included. */
export const SAMPLING_BOUNDS: Record<keyof Recommended, readonly [low: number, high: number]> = {
  temperature: [0, 10],
  topP: [0, 1],
  topK: [-1, 1 << 20], // -1: as 0, all
  minP: [0, 1],
  repetition: [0.01, 10],
};

type Keys = { readonly [K in keyof Recommended]-?: string };
const GGUF: Keys = {
  temperature: 'general.sampling.temp',
  topP: 'general.sampling.top_p',
  topK: 'general.sampling.top_k',
  minP: 'general.sampling.min_p',
  repetition: 'general.sampling.penalty_repeat',
};
const HF: Keys = { temperature: 'temperature', topP: 'top_p', topK: 'top_k', minP: 'min_p', repetition: 'repetition_penalty' };

const ORDER = ['temperature', 'topK', 'topP', 'minP', 'repetition'] as const;

type From = { has(key: string): boolean; number(key: string, lo: number, hi: number): number };
const read = (from: From, keys: Keys): Recommended =>
  Object.fromEntries(
    (Object.keys(keys) as (keyof Recommended)[])
      .filter((k) => from.has(keys[k]))
      .map((k) => [k, Number(from.number(keys[k], ...SAMPLING_BOUNDS[k]).toPrecision(6))]), // GGUF holds 0.6 as an f32
  );

/** `general.sampling.*` of a GGUF; what it leaves out is llama.cpp's, which reads these keys so too. Throws ModelFileError. */
export const ggufSampling = (m: Metadata): Recommended => ({ ...USUAL, ...read(m, GGUF) });

/** generation_config.json. What it leaves out is off, as for its makers; where it says nothing of sampling, llama.cpp's. Throws ModelFileError. */
export function hfSampling(f: Fields): Recommended {
  const said = read(f, HF);
  return Object.keys(said).length > 0 ? said : { ...USUAL };
}

/** 'temperature 0.8, top_k 40, top_p 0.95, min_p 0.05'; undefined where nothing is recommended. */
export function samplingText(r: Recommended): string | undefined {
  const said = ORDER.filter((k) => r[k] !== undefined).map((k) => `${HF[k]} ${r[k]}`);
  return said.length > 0 ? said.join(', ') : undefined;
}
