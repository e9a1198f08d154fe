/** An ONNX model, written: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. What is written here is read again by graph.ts. */

const utf8 = new TextEncoder();

/** Bytes of one protobuf message, put together in pieces so that weights are copied once. */
class Writer {
  readonly #parts: Uint8Array[] = [];
  #bytes = 0;

  int(field: number, value: number): this {
    return this.#add(varint(field << 3)).#add(varint(value));
  }
  float(field: number, value: number): this {
    return this.#add(varint((field << 3) | 5)).#add(new Uint8Array(new Float32Array([value]).buffer));
  }
  bytes(field: number, value: Uint8Array): this {
    return this.#add(varint((field << 3) | 2))
      .#add(varint(value.length))
      .#add(value);
  }
  text(field: number, value: string): this {
    return this.bytes(field, utf8.encode(value));
  }
  message(field: number, value: Writer): this {
    this.#add(varint((field << 3) | 2)).#add(varint(value.#bytes));
    for (const part of value.#parts) this.#add(part);
    return this;
  }

  whole(): Uint8Array {
    const out = new Uint8Array(this.#bytes);
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  #add(part: Uint8Array): this {
    this.#parts.push(part);
    this.#bytes += part.length;
    return this;
  }
}

/** Of a whole number, as 64 bits. */
function varint(value: number): Uint8Array {
  let v = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  do {
    const low = Number(v & 0x7fn);
    v >>= 7n;
    out.push(v > 0n ? low | 0x80 : low);
  } while (v > 0n);
  return Uint8Array.from(out);
}

const FLOAT = 1;
const UINT8 = 2;
const INT8 = 3;
export const INT64 = 7;

/** Attributes of a node: numbers that are not whole are written as floats, as are those of `{ float }`. */
export type Attributes = Readonly<Record<string, number | readonly number[] | string | { float: number }>>;

/** Builds a graph node by node. Names of values are the caller's. */
export class GraphWriter {
  readonly #graph = new Writer();
  readonly #tensors: Writer[] = [];
  #nodes = 0;

  /** Adds a node of one output; answers that output's name. */
  node(op: string, inputs: readonly string[], attributes: Attributes = {}, domain = '', output = `${op}_${this.#nodes}`): string {
    this.nodes(op, inputs, [output], attributes, domain);
    return output;
  }

  nodes(op: string, inputs: readonly string[], outputs: readonly string[], attributes: Attributes = {}, domain = ''): void {
    const node = new Writer();
    for (const name of inputs) node.text(1, name);
    for (const name of outputs) node.text(2, name);
    node.text(3, `${op}_${this.#nodes++}`).text(4, op);
    for (const [name, value] of Object.entries(attributes)) node.message(5, attribute(name, value));
    if (domain) node.text(7, domain);
    this.#graph.message(1, node);
  }

  /** A tensor of the model; answers its name. */
  tensor(name: string, dims: readonly number[], data: Float32Array | Int8Array | Uint8Array | BigInt64Array): string {
    const type = data instanceof Float32Array ? FLOAT : data instanceof Int8Array ? INT8 : data instanceof Uint8Array ? UINT8 : INT64;
    const t = new Writer();
    for (const d of dims) t.int(1, d);
    t.int(2, type)
      .text(8, name)
      .bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    this.#tensors.push(t);
    return name;
  }

  ints(name: string, values: readonly number[]): string {
    return this.tensor(name, [values.length], BigInt64Array.from(values, BigInt));
  }

  floats(name: string, values: readonly number[], dims: readonly number[] = [values.length]): string {
    return this.tensor(name, dims, Float32Array.from(values));
  }

  /** The file. Inputs are ids of [batch, tokens]; `output` is float32 of `shape`, free dimensions by their names. `opsets`: version by domain. */
  model(
    inputs: readonly string[],
    output: string,
    shape: readonly (string | number)[],
    opsets: Readonly<Record<string, number>>,
  ): Uint8Array {
    this.#graph.text(2, 'encoder');
    for (const t of this.#tensors) this.#graph.message(5, t);
    for (const name of inputs) this.#graph.message(11, value(name, INT64, ['batch', 'tokens']));
    this.#graph.message(12, value(output, FLOAT, shape));
    const model = new Writer().int(1, 10).text(2, 'turnstone').message(7, this.#graph);
    for (const [domain, version] of Object.entries(opsets)) model.message(8, new Writer().text(1, domain).int(2, version));
    return model.whole();
  }
}

function value(name: string, type: number, shape: readonly (string | number)[]): Writer {
  const dims = new Writer();
  for (const d of shape) dims.message(1, typeof d === 'string' ? new Writer().text(2, d) : new Writer().int(1, d));
  return new Writer().text(1, name).message(2, new Writer().message(1, new Writer().int(1, type).message(2, dims)));
}

function attribute(name: string, value: Attributes[string]): Writer {
  const a = new Writer().text(1, name);
  if (typeof value === 'string') return a.bytes(4, utf8.encode(value)).int(20, 3);
  if (typeof value === 'number') return a.int(3, value).int(20, 2);
  if ('float' in value) return a.float(2, value.float).int(20, 1);
  for (const n of value) a.int(8, n);
  return a.int(20, 7);
}
