/** A decoder that Python read out of a graph, as a model: its configuration, logits of the reference, a pack. */
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type ModelConfig, PAGE, type RopeScaling, Runner, readConfig } from '../../engine/index.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { familyNames } from '../../models/families/index.ts';
import type { JsonObject } from '../../models/json.ts';
import { loadModel, type ModelFiles } from '../../models/model.ts';
import { folderSink, nodeHasher } from '../../models/node/files.ts';
import { writePack } from '../../models/pack/write.ts';
import type { Format } from '../../models/quantize/convert.ts';
import { modelTensors, type Part } from '../../models/tensors.ts';
import { jsonTokenizer } from '../../models/tokenizer/json.ts';
import type { Arr } from './frames.ts';
import type { Call } from './main.ts';
import { nodeWasm } from './wasm.ts';

/** What Python says of a layer. Scales are folded into the weights already; the softmax's is 1 / √d. */
export interface LayerShape {
  readonly activation: string;
  readonly window: number | null;
  readonly rotates: boolean;
  readonly ropeTheta: number;
  readonly ropeFactors: readonly number[] | null;
  readonly qkvBias: boolean;
  readonly qkNorm: boolean;
  readonly postNorms: boolean;
  readonly softcap: number | null;
}

export interface DecoderShape {
  readonly vocab: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly ffn: number;
  readonly context: number;
  readonly normEps: number;
  readonly tied: boolean;
  readonly softcap: number | null;
  readonly layers: readonly LayerShape[];
}

/** The family that computes this decoder, and its configuration. Throws naming everything that no family has. */
export function configOf(d: DecoderShape): ModelConfig {
  const first = d.layers[0];
  const missing: string[] = [];
  const each = (what: string, bad: (l: LayerShape) => boolean): void => {
    const where = d.layers.flatMap((l, i) => (bad(l) ? [i] : []));
    if (where.length > 0) missing.push(`${what} (layers ${where.length === d.layers.length ? 'all' : where.join(', ')})`);
  };
  each('the activation is not silu', (l) => l.activation !== 'silu');
  each('a sliding window', (l) => l.window !== null);
  each('no rotation', (l) => !l.rotates);
  each('norms behind attention and MLP', (l) => l.postNorms);
  each('a soft cap on scores', (l) => l.softcap !== null);
  if (d.softcap !== null) missing.push('a soft cap on logits');
  if (first.qkNorm && first.qkvBias) missing.push('QK-norm and a bias of q, k and v together');
  const rope = (l: LayerShape) => JSON.stringify([l.ropeTheta, l.ropeFactors]);
  each('a rotation of its own', (l) => l.rotates && first.rotates && rope(l) !== rope(first));
  each('bias or QK-norm in some layers only', (l) => l.qkvBias !== first.qkvBias || l.qkNorm !== first.qkNorm);
  if (missing.length > 0) {
    throw new Error(`no family of Turnstone's (${familyNames()}) has: ${missing.join('; ')}`);
  }
  const scaling: RopeScaling | undefined = first.ropeFactors ? { kind: 'factors', factors: first.ropeFactors } : undefined;
  return readConfig({
    ...{ family: first.qkNorm ? 'qwen3' : first.qkvBias ? 'qwen2' : 'llama', vocab: d.vocab, hidden: d.hidden, layers: d.layers.length },
    ...{ heads: d.heads, kvHeads: d.kvHeads, headDim: d.headDim, ffn: d.ffn, context: d.context, normEps: d.normEps },
    ...{ ropeTheta: first.ropeTheta, ...(scaling && { ropeScaling: scaling }), tied: d.tied },
    ...{ qkvBias: first.qkvBias, qkNorm: first.qkNorm },
  });
}

let model: ModelFiles | undefined;
let stored = new Map<string, Arr>();

const need = (): ModelFiles => {
  if (!model) throw new Error('onboard.begin first');
  return model;
};

/** f32 rows that Python sent. */
function part(name: string): Part {
  const arr = stored.get(name);
  if (!arr) throw new Error(`tensor ${name} was not sent`);
  const [rows, K = 1] = arr.shape;
  const data = arr.data as Float32Array;
  return {
    ...{ name, type: 'F32', rows, K },
    read: async (from, to) => new Uint8Array(data.slice(from * K, to * K).buffer),
  };
}

/** Beyond so many multiply-adds the reference, in plain JavaScript, takes minutes; the wasm kernels give the same bits. */
const REFERENCE_MACS = 2e9;

/** Logits [T, V] of each prompt in f32: weights, activations and KV. */
async function logits(files: ModelFiles, prompts: readonly (readonly number[])[]): Promise<Arr[]> {
  const c = files.config;
  const T = Math.max(...prompts.map((p) => p.length));
  const weights = files.tensors.reduce((n, t) => n + t.N * t.K, 0);
  const macs = weights * prompts.reduce((n, p) => n + p.length, 0);
  const bytes = weights * 4 + T * (c.vocab + 8 * c.hidden + 4 * c.ffn + 8 * c.heads * c.headDim * c.layers) * 4 + (32 << 20);
  const be = macs <= REFERENCE_MACS ? createReference() : await nodeWasm(bytes);
  const { weights: w } = await loadModel(files, be, { format: 'f32', hasher: nodeHasher });
  const maxBlocks = Math.ceil(T / PAGE);
  const size = { maxTokens: T, maxSequences: 1, maxRows: T, maxBlocks, context: T };
  const runner = new Runner({ backend: be, config: c, weights: w, size, kv: 'f32', pages: maxBlocks });
  const pages = Array.from({ length: maxBlocks }, (_, i) => i);
  const out: Arr[] = [];
  for (const ids of prompts) {
    const count = ids.length;
    runner.run([{ seq: { ids, pages }, start: 0, count, logits: count, draft: [] }]);
    const raw = await be.read(runner.logits, 0, count * c.vocab * 4);
    out.push({ shape: [count, c.vocab], data: new Float32Array(raw.buffer, raw.byteOffset, count * c.vocab) });
  }
  be.dispose();
  return out;
}

export const onboarding: Record<string, Call> = {
  /** Takes the decoder's shape and answers with the configuration of the family that computes it. */
  'onboard.begin': ({ decoder }) => {
    stored = new Map();
    model = undefined;
    return { value: configOf(decoder as unknown as DecoderShape) };
  },

  /** One tensor, under the name of engine/config.ts, f32. */
  'onboard.tensor': ({ name }, [data]) => {
    stored.set(String(name), data);
    return {};
  },

  /** All tensors were sent: checks their shapes. */
  'onboard.model': ({ decoder, name, tokenizer, tokenizerConfig, chatTemplate, stopIds }) => {
    const config = configOf(decoder as unknown as DecoderShape);
    const spec = jsonTokenizer(tokenizer as JsonObject, (tokenizerConfig ?? {}) as JsonObject, (stopIds ?? []) as number[]);
    const tensors = modelTensors(config, (t) => [part(t.name)]);
    model = {
      ...{ name: String(name), config, tensors, tokenizer: spec, generation: { stopIds: spec.rules.stopIds } },
      ...(typeof chatTemplate === 'string' && { chatTemplate }),
    };
    return {};
  },

  /** Logits of the given prompts, in f32. */
  'onboard.logits': async ({ prompts }) => ({ arrays: await logits(need(), prompts as number[][]) }),

  /** Writes the pack into a folder. */
  'onboard.write': async ({ out, format, head }) => {
    const folder = String(out);
    await rm(join(folder, 'model.json'), { force: true }); // no pack until the new one is whole
    const options = { format: format as Format, ...(typeof head === 'string' && { head: head as Format }), hasher: nodeHasher };
    const { digest, report, manifest } = await writePack(need(), folderSink(folder), { ...options, name: need().name || basename(folder) });
    const bytes = manifest.shards.reduce((n, s) => n + s.bytes, 0);
    stored = new Map();
    model = undefined;
    return { value: { digest, bytes, tensors: report } };
  },
};
