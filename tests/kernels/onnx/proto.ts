/** Reads what the ONNX operator cases need of protobuf and tar. For tests only: the input is trusted. */
import { f16ToF32 } from '../../../engine/math.ts';

type Field = [number: number, value: number | Uint8Array];

/** Fields of a message: varints and 32-bit values as numbers (f32 by its bits), the rest as bytes. */
function fields(bytes: Uint8Array): Field[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const out: Field[] = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const b = bytes[at++];
      value |= BigInt(b & 127) << shift;
      if (b < 128) return Number(BigInt.asIntN(64, value));
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag & 7;
    if (kind === 0) {
      out.push([tag >> 3, varint()]);
    } else if (kind === 5) {
      out.push([tag >> 3, view.getFloat32(at, true)]);
      at += 4;
    } else if (kind === 2) {
      const length = varint();
      out.push([tag >> 3, bytes.subarray(at, at + length)]);
      at += length;
    } else {
      throw new Error(`protobuf wire type ${kind}`);
    }
  }
  return out;
}

const text = (v: number | Uint8Array | undefined): string => (v instanceof Uint8Array ? new TextDecoder().decode(v) : '');
const numbers = (v: number | Uint8Array): number[] =>
  v instanceof Uint8Array ? fields(Uint8Array.of(...packed(v))).map(([, n]) => n as number) : [v];

/** A packed list of varints, each made a field of its own. */
function packed(list: Uint8Array): number[] {
  const out: number[] = [];
  let start = true;
  for (const b of list) {
    if (start) out.push(8);
    out.push(b);
    start = b < 128;
  }
  return out;
}

export interface Tensor {
  dims: number[];
  type: number; // 1 f32, 7 i64, 9 bool, 10 f16
  values: Float32Array;
}

export function readTensor(bytes: Uint8Array): Tensor {
  const all = fields(bytes);
  const dims = all.filter(([n]) => n === 1).flatMap(([, v]) => numbers(v));
  const type = all.find(([n]) => n === 2)?.[1] as number;
  const raw = all.find(([n]) => n === 9)?.[1] as Uint8Array | undefined;
  if (!raw) throw new Error('tensor without raw data');
  const data = new Uint8Array(raw); // a copy: the archive's alignment is any
  if (type === 1) return { dims, type, values: new Float32Array(data.buffer) };
  if (type === 7) return { dims, type, values: Float32Array.from(new BigInt64Array(data.buffer), Number) };
  if (type === 10) return { dims, type, values: Float32Array.from(new Uint16Array(data.buffer), f16ToF32) };
  return { dims, type, values: Float32Array.from(data) };
}

export interface Node {
  op: string;
  inputs: string[];
  outputs: string[];
  attributes: Record<string, number>;
}

/** The nodes of a model's graph. */
export function readNodes(model: Uint8Array): Node[] {
  const graph = fields(model).find(([n]) => n === 7)?.[1] as Uint8Array;
  return fields(graph)
    .filter(([n]) => n === 1)
    .map(([, bytes]) => {
      const all = fields(bytes as Uint8Array);
      const attributes: Record<string, number> = {};
      for (const [n, a] of all) {
        if (n !== 5) continue;
        const attribute = fields(a as Uint8Array);
        const value = attribute.find(([k]) => k === 2 || k === 3)?.[1];
        attributes[text(attribute.find(([k]) => k === 1)?.[1])] = typeof value === 'number' ? value : Number.NaN;
      }
      const strings = (field: number) => all.filter(([n]) => n === field).map(([, v]) => text(v));
      return { op: strings(4)[0], inputs: strings(1), outputs: strings(2), attributes };
    });
}

/** Files of a tar archive, by path. */
export function readTar(tar: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const field = (at: number, length: number) => text(tar.subarray(at, at + length)).replace(/\0.*$/s, '');
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const size = Number.parseInt(field(at + 124, 12).trim() || '0', 8);
    const prefix = field(at + 345, 155);
    files.set((prefix ? `${prefix}/` : '') + field(at, 100), tar.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}
