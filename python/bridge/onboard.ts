/** A decoder that Python read out of a graph, as a model: its configuration, logits of the reference, a pack. */
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Activation, type LayerKind, type ModelConfig, PAGE, type RopeScaling, Runner, readConfig } from '../../engine/index.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { familyNamed, familyNames } from '../../models/families/index.ts';
import type { JsonObject } from '../../models/json.ts';
import { loadModel, type ModelFiles } from '../../models/model.ts';
import { folderSink, nodeHasher } from '../../models/node/files.ts';
import { writePack } from '../../models/pack/write.ts';
import type { Format } from '../../models/quantize/convert.ts';
import { modelTensors, type Part } from '../../models/tensors.ts';
import { jsonTokenizer } from '../../models/tokenizer/json.ts';
import type { Call } from './call.ts';
import type { Arr } from './frames.ts';
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
  /** What looked-up rows of the embedding are multiplied by. */
  readonly embedScale: number;
  readonly layers: readonly LayerShape[];
}

/** The configuration that computes this decoder. Throws naming everything that the engine has not. */
export function configOf(d: DecoderShape): ModelConfig {
  const { layers } = d;
  const missing: string[] = [];
  const each = (what: string, bad: (l: LayerShape) => boolean): void => {
    const where = layers.flatMap((l, i) => (bad(l) ? [i] : []));
    if (where.length > 0) missing.push(`${what} (layers ${where.length === layers.length ? 'all' : where.join(', ')})`);
  };
  const kindOf = (l: LayerShape): LayerKind => (l.window !== null ? 'sliding' : l.rotates ? 'full' : 'nope');
  const first = (kind: LayerKind) => layers.find((l) => kindOf(l) === kind);
  const [full, sliding] = [first('full'), first('sliding')];
  const turn = (l: LayerShape | undefined) => l && JSON.stringify([l.ropeTheta, l.ropeFactors]);
  const activations: Record<string, Activation> = { silu: 'silu', 'gelu-tanh': 'gelu' };
  each(
    'an activation that is neither silu nor gelu (tanh)',
    (l) => !(l.activation in activations) || l.activation !== layers[0].activation,
  );
  each('a window without rotation', (l) => l.window !== null && !l.rotates);
  each('a window of its own', (l) => l.window !== null && l.window !== sliding?.window);
  each('a rotation of its own', (l) => l.rotates && turn(l) !== turn(first(kindOf(l))));
  each('a soft cap on scores', (l) => l.softcap !== null);
  each('norms behind attention and MLP in some layers only', (l) => l.postNorms !== layers[0].postNorms);
  each('bias or QK-norm in some layers only', (l) => l.qkvBias !== layers[0].qkvBias || l.qkNorm !== layers[0].qkNorm);
  const own = sliding && full && turn(sliding) !== turn(full);
  if (own && sliding.ropeFactors) missing.push('a window whose rotation is scaled, beside another');
  if (d.softcap !== null) missing.push('a soft cap on logits');
  if (missing.length > 0) throw new Error(`no family of Turnstone's (${familyNames()}) has: ${missing.join('; ')}`);
  const rope = full ?? sliding ?? layers[0];
  const scaling: RopeScaling | undefined = rope.ropeFactors ? { kind: 'factors', factors: rope.ropeFactors } : undefined;
  const kinds = layers.map(kindOf);
  const { qkNorm, qkvBias, postNorms, activation } = layers[0];
  const family = postNorms ? 'gemma3' : qkNorm ? 'qwen3' : qkvBias ? 'qwen2' : 'llama';
  return readConfig({
    ...{ family: familyNamed(family) ? family : 'llama', vocab: d.vocab, hidden: d.hidden, layers: layers.length },
    ...{ heads: d.heads, kvHeads: d.kvHeads, headDim: d.headDim, ffn: d.ffn, context: d.context, normEps: d.normEps },
    ...{ ropeTheta: rope.ropeTheta, ...(scaling && { ropeScaling: scaling }), tied: d.tied, qkvBias, qkNorm },
    ...(activation !== 'silu' && { activation: activations[activation] }),
    ...(d.embedScale !== 1 && { embedScale: d.embedScale }),
    ...(postNorms && { postNorms }),
    ...(kinds.some((k) => k !== 'full') && { layerKinds: kinds }),
    ...(sliding?.window && { window: sliding.window }),
    ...(own && { slidingTheta: sliding.ropeTheta }),
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
    return { value: configOf(decoder as DecoderShape) };
  },

  /** One tensor, under the name of engine/config.ts, f32. */
  'onboard.tensor': ({ name }, [data]) => {
    stored.set(String(name), data);
    return {};
  },

  /** All tensors were sent: checks their shapes. */
  'onboard.model': ({ decoder, name, tokenizer, tokenizerConfig, chatTemplate, stopIds }) => {
    const config = configOf(decoder as DecoderShape);
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
