/** Whether a graph is a sentence encoder that can be run here; what is wrong has a name. */
import { ModelFileError } from '../../models/error.ts';
import { type Graph, TYPES, type Value } from './graph.ts';

/** The newest operator set that onnxruntime-web 1.30 has operators of. */
export const MAX_OPSET = 26;
const MIN_OPSET = 11;
/** Sets of operators built into onnxruntime-web. */
const DOMAINS = new Set(['', 'com.microsoft', 'ai.onnx.ml', 'ai.onnx.preview.training', 'com.microsoft.nchwc', 'com.ms.internal.nhwc']);

export interface Encoder {
  /** Those of input_ids, attention_mask, token_type_ids that it takes. */
  inputs: string[];
  /** int64 or int32. */
  idType: 'int64' | 'int32';
  output: string;
  /** 3: a vector a token. 2: a vector a text, pooled by the model itself. */
  rank: 2 | 3;
  dim: number;
  opset: number;
  /** Its arithmetic depends on what else is in a batch (DynamicQuantizeLinear takes one scale for all). */
  dynamic: boolean;
  /** Rows of the table that input_ids index, when it can be told, and its name. */
  table?: { name: string; rows: number };
}

const INPUTS = ['input_ids', 'attention_mask', 'token_type_ids'];
const OUTPUTS = ['last_hidden_state', 'token_embeddings', 'sentence_embedding', 'embeddings', 'hidden_states', 'output'];

/** Throws ModelFileError with the name of the input, output, operator set or tensor that is in the way. */
export function checkEncoder(graph: Graph, where: string, output?: string): Encoder {
  const wrong = (problem: string) => new ModelFileError(where, problem);
  const opset = graph.opsets.get('') ?? 0;
  if (opset < MIN_OPSET || opset > MAX_OPSET)
    throw wrong(`operator set ${opset}, must be ${MIN_OPSET}..${MAX_OPSET}; export it with another opset_version`);
  for (const n of graph.nodes) {
    if (!DOMAINS.has(n.domain))
      throw wrong(`operator ${n.domain}:${n.op} of node "${n.name}": onnxruntime-web has no operators of "${n.domain}"`);
    if (n.domain !== '' && !graph.opsets.has(n.domain))
      throw wrong(`operator ${n.domain}:${n.op} of node "${n.name}": the model imports no "${n.domain}"`);
  }
  for (const t of graph.initializers.values()) {
    if (t.external) throw wrong(`tensor "${t.name}" is in another file; export with the weights inside (external_data=False)`);
  }
  const free = graph.inputs.filter((i) => !graph.initializers.has(i.name));
  const ids = free.find((i) => i.name === 'input_ids');
  if (!ids) throw wrong(`has no input "input_ids"; its inputs are ${names(free)}`);
  for (const i of free) {
    if (!INPUTS.includes(i.name)) throw wrong(`input "${i.name}": a sentence encoder takes ${INPUTS.join(', ')} and nothing else`);
    if (i.type !== 7 && i.type !== 6) throw wrong(`input "${i.name}" is ${typeName(i)}, must be int64 or int32`);
    if (i.type !== ids.type) throw wrong(`input "${i.name}" is ${typeName(i)} but input_ids is ${typeName(ids)}`);
    if (i.shape && i.shape.length !== 2) throw wrong(`input "${i.name}" has ${i.shape.length} dimensions, must be [batch, tokens]`);
    const fixed = i.shape?.find((d) => typeof d === 'number');
    if (fixed !== undefined) throw wrong(`input "${i.name}" has the fixed size ${fixed}; export with dynamic batch and tokens`);
  }
  const out = output ? graph.outputs.find((o) => o.name === output) : pick(graph.outputs);
  if (!out) throw wrong(`has no output "${output ?? 'last_hidden_state'}"; its outputs are ${names(graph.outputs)}`);
  if (out.type !== 1) throw wrong(`output "${out.name}" is ${typeName(out)}, must be float32`);
  const rank = out.shape?.length;
  if (rank !== 2 && rank !== 3)
    throw wrong(`output "${out.name}" has ${rank ?? 'unknown'} dimensions, must be [batch, tokens, dim] or [batch, dim]`);
  const dim = out.shape?.at(-1);
  if (typeof dim !== 'number' || dim < 1 || dim > 8192)
    throw wrong(`output "${out.name}" ends with dimension ${dim}, must be a number in 1..8192`);
  return {
    inputs: INPUTS.filter((n) => free.some((i) => i.name === n)),
    idType: ids.type === 7 ? 'int64' : 'int32',
    output: out.name,
    rank,
    dim,
    opset,
    dynamic: graph.nodes.some((n) => n.op === 'DynamicQuantizeLinear' || n.op === 'DynamicQuantizeMatMul'),
    ...tableOf(graph),
  };
}

/** Every token of the vocabulary must have a row in the table, and the table must not be for a much larger vocabulary. */
export function checkVocabulary(table: Encoder['table'], largestId: number, where: string): void {
  if (!table) return;
  if (largestId >= table.rows) {
    throw new ModelFileError(
      where,
      `has ids up to ${largestId}, but the model's table "${table.name}" has ${table.rows} rows: it is another model's tokenizer`,
    );
  }
  const unused = table.rows - largestId - 1;
  if (unused > Math.max(1024, table.rows / 8)) {
    throw new ModelFileError(
      where,
      `has ids up to ${largestId}, and ${unused} of ${table.rows} rows of the model's table "${table.name}" would never be used: it is another model's tokenizer`,
    );
  }
}

function tableOf(graph: Graph): { table?: { name: string; rows: number } } {
  const same = new Set(['input_ids']);
  for (const n of graph.nodes) if (n.op === 'Cast' || n.op === 'Identity') if (same.has(n.inputs[0])) same.add(n.outputs[0]);
  for (const n of graph.nodes) {
    const t = n.op.startsWith('Gather') && same.has(n.inputs[1]) ? graph.initializers.get(n.inputs[0]) : undefined;
    if (t && t.dims.length === 2 && t.dims[0] > 0) return { table: { name: t.name, rows: t.dims[0] } };
  }
  return {};
}

const pick = (outputs: Value[]) =>
  OUTPUTS.map((n) => outputs.find((o) => o.name === n)).find((o) => o) ?? (outputs.length === 1 ? outputs[0] : undefined);
const names = (values: Value[]) =>
  values
    .map((v) => `"${v.name.slice(0, 64)}"`)
    .slice(0, 8)
    .join(', ') || 'none';
const typeName = (v: Value) => TYPES[v.type] ?? `type ${v.type}`;
