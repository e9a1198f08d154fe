/** What must be known of an ONNX model before it runs: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto */
import { ModelFileError } from '../../models/error.ts';
import { Message } from './wire.ts';

/** TensorProto.DataType, those that are named in errors. */
export const TYPES: Readonly<Record<number, string>> = {
  ...{ 1: 'float32', 2: 'uint8', 3: 'int8', 6: 'int32', 7: 'int64', 9: 'bool', 10: 'float16', 11: 'float64', 16: 'bfloat16' },
  ...{ 21: 'uint4', 22: 'int4' },
};

export interface Value {
  name: string;
  /** TensorProto.DataType, 0 when it is no tensor. */
  type: number;
  /** A size, or the name of one that is free; undefined when the rank is unknown. */
  shape?: (number | string)[];
}

export interface Tensor {
  name: string;
  type: number;
  dims: number[];
  external: boolean;
}

export interface Node {
  name: string;
  op: string;
  /** '' is ONNX's own. */
  domain: string;
  inputs: string[];
  outputs: string[];
}

export interface Graph {
  irVersion: number;
  producer: string;
  /** Version of each operator set by domain. */
  opsets: Map<string, number>;
  inputs: Value[];
  outputs: Value[];
  initializers: Map<string, Tensor>;
  /** Those of nested graphs too. */
  nodes: Node[];
}

const MAX = { nodes: 200_000, tensors: 200_000, dims: 16, ends: 4096, opsets: 64, depth: 8 };

/** Reads a model's graph without its weights. Throws ModelFileError naming the byte for what is no ONNX or damaged. */
export function readGraph(bytes: Uint8Array, where: string): Graph {
  const graph: Graph = { irVersion: 0, producer: '', opsets: new Map(), inputs: [], outputs: [], initializers: new Map(), nodes: [] };
  const m = new Message(bytes, where);
  let found = false;
  for (let f = m.next(); f !== 0; f = m.next()) {
    if (f === 1) graph.irVersion = m.int();
    else if (f === 2) graph.producer = m.string().slice(0, 64);
    else if (f === 8) readOpset(m.message(), graph.opsets, where);
    else if (f === 7) {
      found = true;
      readInto(m.message(), graph, where, 0);
    } else m.skip();
  }
  if (!found || graph.irVersion < 1) throw new ModelFileError(where, 'is no ONNX model: it has no graph');
  return graph;
}

function readOpset(m: Message, into: Map<string, number>, where: string): void {
  let domain = '';
  let version = 0;
  for (let f = m.next(); f !== 0; f = m.next()) {
    if (f === 1) domain = m.string();
    else if (f === 2) version = m.int();
    else m.skip();
  }
  into.set(domain === 'ai.onnx' ? '' : domain, version);
  if (into.size > MAX.opsets) throw new ModelFileError(where, `has more than ${MAX.opsets} operator sets`);
}

function readInto(m: Message, graph: Graph, where: string, depth: number): void {
  if (depth > MAX.depth) throw new ModelFileError(where, `has graphs within graphs, more than ${MAX.depth} deep`);
  for (let f = m.next(); f !== 0; f = m.next()) {
    if (f === 1) readNode(m.message(), graph, where, depth);
    else if (f === 5) {
      const t = readTensor(m.message());
      graph.initializers.set(t.name, t);
    } else if (f === 11 && depth === 0) graph.inputs.push(readValue(m.message()));
    else if (f === 12 && depth === 0) graph.outputs.push(readValue(m.message()));
    else m.skip();
    if (graph.nodes.length > MAX.nodes) throw new ModelFileError(where, `has more than ${MAX.nodes} operators`);
    if (graph.initializers.size > MAX.tensors) throw new ModelFileError(where, `has more than ${MAX.tensors} tensors`);
    if (graph.inputs.length + graph.outputs.length > MAX.ends)
      throw new ModelFileError(where, `has more than ${MAX.ends} inputs and outputs`);
  }
}

function readNode(m: Message, graph: Graph, where: string, depth: number): void {
  const node: Node = { name: '', op: '', domain: '', inputs: [], outputs: [] };
  for (let f = m.next(); f !== 0; f = m.next()) {
    if (f === 1) node.inputs.push(m.string());
    else if (f === 2) node.outputs.push(m.string());
    else if (f === 3) node.name = m.string();
    else if (f === 4) node.op = m.string();
    else if (f === 5) readAttribute(m.message(), graph, where, depth);
    else if (f === 7) node.domain = m.string();
    else m.skip();
  }
  if (node.domain === 'ai.onnx') node.domain = '';
  graph.nodes.push(node);
}

/** Branches of If, bodies of Loop. */
function readAttribute(m: Message, graph: Graph, where: string, depth: number): void {
  for (let f = m.next(); f !== 0; f = m.next()) {
    if (f === 6 || f === 11) readInto(m.message(), graph, where, depth + 1);
    else m.skip();
  }
}

function readTensor(m: Message): Tensor {
  const t: Tensor = { name: '', type: 0, dims: [], external: false };
  for (let f = m.next(); f !== 0; f = m.next()) {
    if (f === 1) m.ints(t.dims, MAX.dims);
    else if (f === 2) t.type = m.int();
    else if (f === 8) t.name = m.string();
    else if (f === 14) t.external = m.int() === 1;
    else m.skip();
  }
  return t;
}

function readValue(m: Message): Value {
  const v: Value = { name: '', type: 0 };
  for (let f = m.next(); f !== 0; f = m.next()) {
    if (f === 1) v.name = m.string();
    else if (f === 2) readType(m.message(), v);
    else m.skip();
  }
  return v;
}

function readType(m: Message, v: Value): void {
  for (let f = m.next(); f !== 0; f = m.next()) {
    if (f !== 1) {
      m.skip();
      continue;
    }
    const tensor = m.message();
    for (let g = tensor.next(); g !== 0; g = tensor.next()) {
      if (g === 1) v.type = tensor.int();
      else if (g === 2) v.shape = readShape(tensor.message());
      else tensor.skip();
    }
  }
}

function readShape(m: Message): (number | string)[] {
  const shape: (number | string)[] = [];
  for (let f = m.next(); f !== 0; f = m.next()) {
    if (f !== 1 || shape.length >= MAX.dims) {
      m.skip();
      continue;
    }
    const d = m.message();
    let size: number | string = '?';
    for (let g = d.next(); g !== 0; g = d.next()) {
      if (g === 1) size = d.int();
      else if (g === 2) size = d.string();
      else d.skip();
    }
    shape.push(size);
  }
  return shape;
}
