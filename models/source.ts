import { ModelFileError } from './error.ts';

/** A file read at random places, so that it need not be held in memory: a Node file, an object in R2, bytes. */
export interface Source {
  /** Shown in errors. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`; the caller may keep and change them. Rejects when the range is outside the file. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Bytes in memory as a Source. */
export function memorySource(bytes: Uint8Array, name = 'memory'): Source {
  return {
    name,
    size: bytes.length,
    async read(offset, length) {
      checkRange(name, bytes.length, offset, length);
      return bytes.slice(offset, offset + length);
    },
  };
}

/** Throws unless [offset, offset + length) lies within `size` bytes. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  const sane = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!sane || offset + length > size) {
    throw new ModelFileError(name, `needs ${length} bytes but the file ends at ${size}; it is cut short or damaged`, offset);
  }
}

/** Reads a file from its start in order: `fill(n)` makes n bytes ready, the others take them. Little endian. */
export class Cursor {
  readonly #source: Source;
  readonly #chunk: number;
  #bytes: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #base = 0;
  #at = 0;

  constructor(source: Source, chunk = 1 << 20) {
    this.#source = source;
    this.#chunk = chunk;
  }

  /** Offset in the file of the next byte. */
  get offset(): number {
    return this.#base + this.#at;
  }

  get remaining(): number {
    return this.#source.size - this.offset;
  }

  has(n: number): boolean {
    return this.#at + n <= this.#bytes.length;
  }

  /** Makes the next n bytes ready. `where` names what they belong to, for the error when the file ends before. */
  async fill(n: number, where: string): Promise<void> {
    if (this.has(n)) return;
    if (n > this.remaining) {
      throw new ModelFileError(where, `needs ${n} bytes but the file has ${this.remaining} more; it is cut short or damaged`, this.offset);
    }
    this.#base += this.#at;
    this.#at = 0;
    this.#bytes = await this.#source.read(this.#base, Math.min(this.#source.size - this.#base, Math.max(n, this.#chunk)));
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
  }

  /** The next n bytes as a copy. */
  take(n: number): Uint8Array {
    const out = new Uint8Array(n);
    out.set(this.peek(n));
    return out;
  }

  /** The next n bytes, valid until the next `fill`. */
  peek(n: number): Uint8Array {
    const out = this.#bytes.subarray(this.#at, this.#at + n);
    this.#at += n;
    return out;
  }

  u8 = () => this.#view.getUint8(this.#step(1));
  i8 = () => this.#view.getInt8(this.#step(1));
  u16 = () => this.#view.getUint16(this.#step(2), true);
  i16 = () => this.#view.getInt16(this.#step(2), true);
  u32 = () => this.#view.getUint32(this.#step(4), true);
  i32 = () => this.#view.getInt32(this.#step(4), true);
  f32 = () => this.#view.getFloat32(this.#step(4), true);
  f64 = () => this.#view.getFloat64(this.#step(8), true);
  u64 = () => this.#view.getBigUint64(this.#step(8), true);
  i64 = () => this.#view.getBigInt64(this.#step(8), true);

  #step(n: number): number {
    const at = this.#at;
    this.#at += n;
    return at;
  }
}
