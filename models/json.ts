import { ModelFileError } from './error.ts';

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json | undefined;
}

const MAX_JSON = 64 << 20;

/** Parses UTF-8 JSON whose top is an object. Throws ModelFileError. */
export function parseJsonObject(bytes: Uint8Array, where: string): JsonObject {
  if (bytes.length > MAX_JSON) throw new ModelFileError(where, `has ${bytes.length} bytes, more than ${MAX_JSON}`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (e) {
    throw new ModelFileError(where, `is no JSON: ${(e as Error).message}`);
  }
  if (!isObject(value)) throw new ModelFileError(where, 'must be a JSON object');
  return value;
}

export function isObject(v: unknown): v is JsonObject {
  return typeof v === 'object' && v !== null && !Array.isArray(v);
}

/** Typed, bounded access to a JSON object; errors name `where` and the field. */
export class Fields {
  readonly raw: JsonObject;
  readonly where: string;

  constructor(raw: JsonObject, where: string) {
    this.raw = raw;
    this.where = where;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.raw, key) && this.raw[key] !== null;
  }

  get(key: string): Json | undefined {
    return this.has(key) ? this.raw[key] : undefined;
  }

  int(key: string, lo: number, hi: number, fallback?: number): number {
    const v = this.get(key) ?? fallback;
    if (typeof v !== 'number' || !Number.isInteger(v) || v < lo || v > hi) throw this.wrong(key, v, `an integer in ${lo}..${hi}`);
    return v;
  }

  number(key: string, lo: number, hi: number, fallback?: number): number {
    const v = this.get(key) ?? fallback;
    if (typeof v !== 'number' || !(v >= lo && v <= hi)) throw this.wrong(key, v, `a number in ${lo}..${hi}`);
    return v;
  }

  bool(key: string, fallback: boolean): boolean {
    const v = this.get(key) ?? fallback;
    if (typeof v !== 'boolean') throw this.wrong(key, v, 'a boolean');
    return v;
  }

  string(key: string, fallback?: string): string {
    const v = this.get(key) ?? fallback;
    if (typeof v !== 'string') throw this.wrong(key, v, 'a string');
    return v;
  }

  array(key: string, fallback?: Json[]): Json[] {
    const v = this.get(key) ?? fallback;
    if (!Array.isArray(v)) throw this.wrong(key, v, 'an array');
    return v;
  }

  object(key: string): Fields {
    const v = this.get(key);
    if (!isObject(v)) throw this.wrong(key, v, 'an object');
    return new Fields(v, `${this.where}: ${key}`);
  }

  /** The object under a key, or undefined when it is absent or null. */
  maybe(key: string): Fields | undefined {
    return this.has(key) ? this.object(key) : undefined;
  }

  /** Every element of an array as an object. */
  objects(key: string): Fields[] {
    return this.array(key).map((v, i) => {
      if (!isObject(v)) throw this.wrong(`${key}[${i}]`, v, 'an object');
      return new Fields(v, `${this.where}: ${key}[${i}]`);
    });
  }

  wrong(key: string, v: Json | undefined, want: string): ModelFileError {
    const got = v === undefined || v === null ? 'is missing' : `is ${JSON.stringify(v).slice(0, 80)}`;
    return new ModelFileError(this.where, `${key} ${got}, must be ${want}`);
  }
}
