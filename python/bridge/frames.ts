/**
 * What Python and this process say to each other over stdin and stdout: frames of a u32 length (little endian), that many bytes of
 * JSON, and the arrays that the JSON announces in `arrays`, one after the other.
 */
import type { Readable, Writable } from 'node:stream';

export type Dtype = 'f32' | 'u8' | 'i8' | 'u16' | 'u32';
export type Numbers = Float32Array | Uint8Array | Int8Array | Uint16Array | Uint32Array;

export interface Arr {
  readonly shape: readonly number[];
  readonly data: Numbers;
}

export interface Frame {
  readonly head: Record<string, unknown>;
  readonly arrays: readonly Arr[];
}

const MAX_HEAD = 64 << 20;
const MAX_ARRAY = 2 ** 31;

const KINDS = { f32: Float32Array, u8: Uint8Array, i8: Int8Array, u16: Uint16Array, u32: Uint32Array } as const;

/** Frames of a stream until it ends. Throws when it does not hold frames. */
export async function* frames(input: Readable): AsyncGenerator<Frame> {
  const read = reader(input);
  for (;;) {
    const start = await read(4);
    if (!start) return;
    const size = new DataView(start.buffer).getUint32(0, true);
    if (size > MAX_HEAD) throw new Error(`a frame's head has ${size} bytes, more than ${MAX_HEAD}`);
    const text = await read(size);
    if (!text) throw new Error('the stream ends inside a frame');
    const head = JSON.parse(new TextDecoder().decode(text)) as Record<string, unknown>;
    const arrays: Arr[] = [];
    for (const a of (head.arrays ?? []) as { dtype: Dtype; shape: number[] }[]) {
      const Kind = KINDS[a.dtype];
      if (!Kind) throw new Error(`no dtype ${JSON.stringify(a.dtype)}, have ${Object.keys(KINDS).join(', ')}`);
      const count = a.shape.reduce((n, d) => n * d, 1);
      const bytes = count * Kind.BYTES_PER_ELEMENT;
      if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > MAX_ARRAY)
        throw new Error(`an array of ${a.shape.join(' × ')} is too large`);
      const raw = bytes > 0 ? await read(bytes) : new Uint8Array(0);
      if (!raw) throw new Error('the stream ends inside an array');
      arrays.push({ shape: a.shape, data: new Kind(raw.buffer, raw.byteOffset, count) });
    }
    yield { head, arrays };
  }
}

/** Reads exactly n bytes into a buffer of its own (aligned); undefined at the end of the stream. */
function reader(input: Readable): (n: number) => Promise<Uint8Array<ArrayBuffer> | undefined> {
  const chunks = input[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest: Uint8Array = new Uint8Array(0);
  return async (n) => {
    const out = new Uint8Array(n);
    let at = 0;
    while (at < n) {
      if (rest.length === 0) {
        const next = await chunks.next();
        if (next.done) return undefined;
        rest = next.value;
      }
      const take = Math.min(rest.length, n - at);
      out.set(rest.subarray(0, take), at);
      rest = rest.subarray(take);
      at += take;
    }
    return out;
  };
}

const dtypeOf = (a: Numbers): Dtype => (Object.keys(KINDS) as Dtype[]).find((k) => a instanceof KINDS[k]) as Dtype;

/** Writes one frame. */
export function send(output: Writable, head: Record<string, unknown>, arrays: readonly Arr[] = []): void {
  const described = arrays.map((a) => ({ dtype: dtypeOf(a.data), shape: a.shape }));
  const text = Buffer.from(JSON.stringify({ ...head, arrays: described }));
  const size = Buffer.alloc(4);
  size.writeUInt32LE(text.length, 0);
  output.write(size);
  output.write(text);
  for (const { data } of arrays) output.write(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
}
