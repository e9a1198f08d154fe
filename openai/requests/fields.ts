/**
 * Readers of untrusted JSON: each takes a value and its path and returns it typed and bounded, or throws a 400 that names the path.
 * Own code rather than a schema library: a union there (content as text or parts, four forms of tool_choice) loses the inner path,
 * and OpenAI's messages would have to be put together again from its issues.
 */

import { type ApiError, badRequest, clip } from '../errors.ts';

export type Fields = { readonly [key: string]: unknown };

const kindOf = (v: unknown): string => {
  if (v === undefined) return 'nothing';
  if (v === null) return 'null';
  if (Array.isArray(v)) return 'an array';
  if (typeof v === 'number') return Number.isInteger(v) ? 'an integer' : 'a decimal';
  return typeof v === 'object' ? 'an object' : `a ${typeof v}`;
};

const wrongType = (path: string, expected: string, v: unknown): ApiError =>
  v === undefined
    ? badRequest(`Missing required parameter: '${path}'.`, path, 'missing_required_parameter')
    : badRequest(`Invalid type for '${path}': expected ${expected}, but got ${kindOf(v)} instead.`, path, 'invalid_type');

/** null and absent are the same in OpenAI's API. */
export function optional<T>(v: unknown, read: (v: unknown) => T): T | undefined {
  return v === undefined || v === null ? undefined : read(v);
}

export function object(v: unknown, path: string): Fields {
  if (typeof v !== 'object' || v === null || Array.isArray(v)) throw wrongType(path, 'an object', v);
  return v as Fields;
}

/** The request's body itself, which has no path. */
export function bodyObject(v: unknown): Fields {
  if (typeof v !== 'object' || v === null || Array.isArray(v)) {
    throw badRequest(`The request's body must be a JSON object, but it is ${kindOf(v)}.`, undefined, 'invalid_type');
  }
  return v as Fields;
}

export function array(v: unknown, path: string, min: number, max: number): readonly unknown[] {
  if (!Array.isArray(v)) throw wrongType(path, 'an array', v);
  if (v.length < min) {
    throw badRequest(
      `Invalid '${path}': expected at least ${min} element${min === 1 ? '' : 's'}, got ${v.length}.`,
      path,
      'array_too_short',
    );
  }
  if (v.length > max)
    throw badRequest(`Invalid '${path}': expected at most ${max} elements, got ${v.length}.`, path, 'array_above_max_length');
  return v;
}

/** `max` in UTF-16 units. */
export function string(v: unknown, path: string, min = 0, max = 1 << 22): string {
  if (typeof v !== 'string') throw wrongType(path, 'a string', v);
  if (v.length < min) throw badRequest(`Invalid '${path}': the string is empty or too short (at least ${min}).`, path, 'string_too_short');
  if (v.length > max)
    throw badRequest(`Invalid '${path}': the string is ${v.length} long, at most ${max}.`, path, 'string_above_max_length');
  return v;
}

export function boolean(v: unknown, path: string): boolean {
  if (typeof v !== 'boolean') throw wrongType(path, 'a boolean', v);
  return v;
}

/** A finite number in lo..hi. */
export function number(v: unknown, path: string, lo: number, hi: number): number {
  if (typeof v !== 'number' || !Number.isFinite(v)) throw wrongType(path, 'a number', v);
  if (v < lo) throw badRequest(`Invalid '${path}': ${v} is below the minimum of ${lo}.`, path, 'decimal_below_min_value');
  if (v > hi) throw badRequest(`Invalid '${path}': ${v} is above the maximum of ${hi}.`, path, 'decimal_above_max_value');
  return v;
}

export function integer(v: unknown, path: string, lo: number, hi: number): number {
  if (typeof v !== 'number' || !Number.isInteger(v)) throw wrongType(path, 'an integer', v);
  if (v < lo) throw badRequest(`Invalid '${path}': ${v} is below the minimum of ${lo}.`, path, 'integer_below_min_value');
  if (v > hi) throw badRequest(`Invalid '${path}': ${v} is above the maximum of ${hi}.`, path, 'integer_above_max_value');
  return v;
}

export function oneOf<T extends string>(v: unknown, path: string, values: readonly T[]): T {
  if (typeof v !== 'string') throw wrongType(path, 'a string', v);
  if (!(values as readonly string[]).includes(v)) {
    throw badRequest(`Invalid value for '${path}': '${clip(v)}'. Supported: ${values.map((x) => `'${x}'`).join(', ')}.`, path);
  }
  return v as T;
}

/** Letters, digits, _ and -, up to `max`, as OpenAI asks of the names of tools and schemas. */
export function identifier(v: unknown, path: string, max = 64): string {
  const s = string(v, path, 1, max);
  if (!/^[a-zA-Z0-9_-]+$/.test(s)) throw badRequest(`Invalid '${path}': '${clip(s)}' may hold only letters, digits, _ and -.`, path);
  return s;
}
