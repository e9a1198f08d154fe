import { ModelFileError } from '../error.ts';
import type { Cursor } from '../source.ts';

export type GgufValue = number | bigint | boolean | string | GgufArray;
export type GgufArray = readonly string[] | readonly boolean[] | NumberArray | readonly GgufArray[];
export type NumberArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

const MAX_STRING = 1 << 24;
const MAX_ARRAY = 1 << 22;
const MAX_DEPTH = 3;

/** GGUF's value types by number: bytes of one element. 8 is a string, 9 an array. */
const SIZES: Record<number, number> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 8: 8, 9: 12, 10: 8, 11: 8, 12: 8 };
const STRING = 8;
const ARRAY = 9;
const BOOL = 7;

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** A string: u64 length, then bytes. */
export async function readString(c: Cursor, where: string, max = MAX_STRING): Promise<string> {
  if (!c.has(8)) await c.fill(8, where);
  const offset = c.offset;
  const length = c.u64();
  if (length > BigInt(max)) throw new ModelFileError(where, `has a string of ${length} bytes, more than ${max}`, offset);
  const n = Number(length);
  if (!c.has(n)) await c.fill(n, where);
  return utf8.decode(c.peek(n));
}

/** A metadata value of the given type number. Throws ModelFileError naming `where`. */
export async function readValue(c: Cursor, where: string, type: number, depth = 0): Promise<GgufValue> {
  const size = SIZES[type];
  if (size === undefined) throw new ModelFileError(where, `has the unknown value type ${type}`, c.offset - 4);
  if (type === STRING) return readString(c, where);
  if (type === ARRAY) return readArray(c, where, depth);
  await c.fill(size, where);
  return scalar(c, where, type);
}

function scalar(c: Cursor, where: string, type: number): number | bigint | boolean {
  const offset = c.offset;
  switch (type) {
    case 0:
      return c.u8();
    case 1:
      return c.i8();
    case 2:
      return c.u16();
    case 3:
      return c.i16();
    case 4:
      return c.u32();
    case 5:
      return c.i32();
    case 6:
      return c.f32();
    case BOOL: {
      const b = c.u8();
      if (b > 1) throw new ModelFileError(where, `has a boolean of value ${b}`, offset);
      return b === 1;
    }
    case 10:
      return narrow(c.u64());
    case 11:
      return narrow(c.i64());
    default:
      return c.f64();
  }
}

const narrow = (v: bigint): number | bigint => (v >= -(2n ** 53n) && v <= 2n ** 53n ? Number(v) : v);

async function readArray(c: Cursor, where: string, depth: number): Promise<GgufArray> {
  if (depth >= MAX_DEPTH) throw new ModelFileError(where, `nests arrays deeper than ${MAX_DEPTH}`, c.offset);
  await c.fill(12, where);
  const offset = c.offset;
  const type = c.u32();
  const length = c.u64();
  const size = SIZES[type];
  if (size === undefined) throw new ModelFileError(where, `is an array of the unknown type ${type}`, offset);
  if (length > BigInt(MAX_ARRAY)) throw new ModelFileError(where, `is an array of ${length} elements, more than ${MAX_ARRAY}`, offset);
  const n = Number(length);
  if (n * size > c.remaining) throw new ModelFileError(where, `is an array of ${n} elements that goes beyond the end of the file`, offset);
  if (type === STRING) {
    const out: string[] = [];
    for (let i = 0; i < n; i++) out.push(await readString(c, where));
    return out;
  }
  if (type === ARRAY) {
    const out: GgufArray[] = [];
    for (let i = 0; i < n; i++) out.push(await readArray(c, where, depth + 1));
    return out;
  }
  await c.fill(n * size, where);
  if (type === BOOL) return Array.from({ length: n }, () => scalar(c, where, BOOL) as boolean);
  return numbers(c.take(n * size).buffer as ArrayBuffer, type);
}

function numbers(bytes: ArrayBuffer, type: number): NumberArray {
  switch (type) {
    case 0:
      return new Uint8Array(bytes);
    case 1:
      return new Int8Array(bytes);
    case 2:
      return new Uint16Array(bytes);
    case 3:
      return new Int16Array(bytes);
    case 4:
      return new Uint32Array(bytes);
    case 5:
      return new Int32Array(bytes);
    case 6:
      return new Float32Array(bytes);
    case 10:
      return new BigUint64Array(bytes);
    case 11:
      return new BigInt64Array(bytes);
    default:
      return new Float64Array(bytes);
  }
}
