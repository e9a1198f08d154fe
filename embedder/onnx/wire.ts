/** Protobuf's wire format, read and bounded: https://protobuf.dev/programming-guides/encoding/ */
import { ModelFileError } from '../../models/error.ts';

const MAX_STRING = 1 << 16;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The fields of one message, in order: a range of bytes that knows what it belongs to. */
export class Message {
  readonly #bytes: Uint8Array;
  readonly #where: string;
  #at: number;
  readonly #end: number;
  #field = 0;
  #type = 0;

  constructor(bytes: Uint8Array, where: string, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#where = where;
    this.#at = start;
    this.#end = end;
  }

  /** Number of the next field, 0 at the end. The field must then be taken or skipped. */
  next(): number {
    if (this.#at === this.#end) return 0;
    const key = this.#varint();
    if (key > 0xffffffffn) throw this.#wrong('a field number is too large');
    this.#field = Number(key >> 3n);
    this.#type = Number(key & 7n);
    if (this.#field === 0) throw this.#wrong('a field has number 0');
    return this.#field;
  }

  /** A signed 64-bit number that must be safe in JavaScript. */
  int(): number {
    this.#expect(0);
    const v = Number(BigInt.asIntN(64, this.#varint()));
    if (!Number.isSafeInteger(v)) throw this.#wrong(`field ${this.#field} is ${v}, beyond what is counted here`);
    return v;
  }

  /** Numbers, whether packed into one field or one a field. */
  ints(out: number[], max: number): void {
    if (this.#type === 0) out.push(this.int());
    else {
      const [start, end] = this.#range();
      const packed = new Message(this.#bytes, this.#where, start, end);
      while (packed.#at < end && out.length <= max) out.push(Number(BigInt.asIntN(64, packed.#varint())));
    }
    if (out.length > max) throw this.#wrong(`field ${this.#field} has more than ${max} numbers`);
  }

  string(): string {
    const [start, end] = this.#range();
    if (end - start > MAX_STRING) throw this.#wrong(`a name of ${end - start} bytes`);
    try {
      return utf8.decode(this.#bytes.subarray(start, end));
    } catch {
      throw this.#wrong(`field ${this.#field} is no UTF-8`);
    }
  }

  message(where = this.#where): Message {
    const [start, end] = this.#range();
    return new Message(this.#bytes, where, start, end);
  }

  /** Length of a field that is not read. */
  skip(): number {
    if (this.#type === 2) {
      const [start, end] = this.#range();
      return end - start;
    }
    if (this.#type === 0) return Number(this.#varint() & 0n);
    const width = this.#type === 1 ? 8 : this.#type === 5 ? 4 : 0;
    if (width === 0) throw this.#wrong(`field ${this.#field} has wire type ${this.#type}`);
    this.#need(width);
    this.#at += width;
    return width;
  }

  #range(): [number, number] {
    this.#expect(2);
    const length = this.#varint();
    if (length > BigInt(this.#end - this.#at)) {
      throw this.#wrong(`field ${this.#field} needs ${length} bytes, ${this.#end - this.#at} are left: the file is cut short or damaged`);
    }
    const start = this.#at;
    this.#at += Number(length);
    return [start, this.#at];
  }

  #varint(): bigint {
    let value = 0n;
    for (let i = 0; i < 10; i++) {
      this.#need(1);
      const byte = this.#bytes[this.#at++];
      value |= BigInt(byte & 127) << BigInt(7 * i);
      if (byte < 128) return value;
    }
    throw this.#wrong('a number has more than ten bytes');
  }

  #need(n: number): void {
    if (this.#at + n > this.#end) throw this.#wrong('the file is cut short or damaged');
  }

  #expect(type: number): void {
    if (this.#type !== type) throw this.#wrong(`field ${this.#field} has wire type ${this.#type}, must be ${type}`);
  }

  #wrong(problem: string): ModelFileError {
    return new ModelFileError(this.#where, problem, this.#at);
  }
}
