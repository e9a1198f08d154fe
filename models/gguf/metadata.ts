import { ModelFileError } from '../error.ts';
import type { GgufValue, NumberArray } from './values.ts';

export interface MetadataEntry {
  /** Where the key starts in the file. */
  offset: number;
  value: GgufValue;
}

/** GGUF metadata with typed, bounded access: every error names the key and its byte. */
export class Metadata {
  readonly entries: ReadonlyMap<string, MetadataEntry>;

  constructor(entries: ReadonlyMap<string, MetadataEntry>) {
    this.entries = entries;
  }

  has(key: string): boolean {
    return this.entries.has(key);
  }

  offset(key: string): number | undefined {
    return this.entries.get(key)?.offset;
  }

  /** An integer within lo..hi; `fallback` when the key is absent, an error when there is none either. */
  int(key: string, lo: number, hi: number, fallback?: number): number {
    const v = this.entries.get(key)?.value ?? fallback;
    if (typeof v !== 'number' || !Number.isInteger(v) || v < lo || v > hi) throw this.#wrong(key, v, `an integer in ${lo}..${hi}`);
    return v;
  }

  /** A finite number within lo..hi. */
  number(key: string, lo: number, hi: number, fallback?: number): number {
    const v = this.entries.get(key)?.value ?? fallback;
    if (typeof v !== 'number' || !(v >= lo && v <= hi)) throw this.#wrong(key, v, `a number in ${lo}..${hi}`);
    return v;
  }

  string(key: string, fallback?: string): string {
    const v = this.entries.get(key)?.value ?? fallback;
    if (typeof v !== 'string') throw this.#wrong(key, v, 'a string');
    return v;
  }

  bool(key: string, fallback: boolean): boolean {
    const v = this.entries.get(key)?.value ?? fallback;
    if (typeof v !== 'boolean') throw this.#wrong(key, v, 'a boolean');
    return v;
  }

  strings(key: string): readonly string[] {
    const v = this.entries.get(key)?.value;
    if (!Array.isArray(v) || (v.length > 0 && typeof v[0] !== 'string')) throw this.#wrong(key, v, 'an array of strings');
    return v as readonly string[];
  }

  /** An array of numbers with `length` elements. */
  numbers(key: string, length: number): Exclude<NumberArray, BigUint64Array | BigInt64Array> {
    const v = this.entries.get(key)?.value;
    const typed = ArrayBuffer.isView(v) && !(v instanceof BigUint64Array) && !(v instanceof BigInt64Array);
    if (!typed || (v as Uint8Array).length !== length) throw this.#wrong(key, v, `an array of ${length} numbers`);
    return v as Exclude<NumberArray, BigUint64Array | BigInt64Array>;
  }

  #wrong(key: string, v: GgufValue | undefined, want: string): ModelFileError {
    if (v === undefined) return new ModelFileError(`key "${key}"`, `is missing, must be ${want}`);
    const kind = Array.isArray(v) || ArrayBuffer.isView(v) ? `an array of ${(v as unknown[]).length}` : JSON.stringify(v, bigints);
    return new ModelFileError(`key "${key}"`, `is ${kind.slice(0, 80)}, must be ${want}`, this.offset(key));
  }
}

const bigints = (_: string, v: unknown) => (typeof v === 'bigint' ? String(v) : v);
