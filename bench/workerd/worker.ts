/** The bench's Worker: engine, kernels and probes inside an isolate. State is the isolate's; requests come one at a time. */

import { allocWeights } from '../../engine/anatomy.ts';
import { countWasm, createWasm } from '../../kernels/wasm/index.ts';
import { loadWeights, openPack } from '../../models/pack/load.ts';
import { formatsIn } from '../../models/pack/manifest.ts';
import { chunks, type R2Like, r2Pack } from '../../models/pack/source.ts';
import { attentionCase } from '../../tests/kernels/cases/attention.ts';
import type { Case, Prepared } from '../../tests/kernels/cases/index.ts';
import { topkCase } from '../../tests/kernels/cases/logits.ts';
import { matmulCase } from '../../tests/kernels/cases/matmul.ts';
import { Runner, type RunnerModel, roomyPlan } from '../engine/runner.ts';
import probeModule from './probe.wasm';
import type { KernelBody, LoadBody, MeasuredBody, PrefillBody, ProbeBody } from './protocol.ts';
import relaxed from './relaxed.wasm';
import simd from './simd.wasm';

const PAGE_SLACK = 64 << 20; // scratch and tables
const modules = { relaxed, simd };

let model: RunnerModel | undefined;
let plain: Runner | undefined;
let speculating: Runner | undefined;
let current: Runner | undefined;
let prepared: { key: string; run: Prepared } | undefined;
let probe: { bytes: number; exports: ProbeExports } | undefined;

interface ProbeExports {
  read(from: number, bytes: number): number;
  i8mul(n: number): number;
  i8sum(n: number): number;
  i8dot(n: number): number;
  f32mul(n: number): number;
}

async function load(bucket: R2Like, o: LoadBody): Promise<object> {
  model = plain = speculating = current = prepared = undefined;
  const source = r2Pack(bucket, `${o.id}/`);
  const { manifest, digest } = await openPack(source);
  const { config } = manifest;
  const count = countWasm();
  const counted = allocWeights(count, config, formatsIn(manifest.tensors));
  const plan = roomyPlan(config, counted.weights, o);
  // two engines, one with speculation and one without
  const backend = createWasm({ modules, memoryBytes: count.used + 2 * plan.bytes.kv + 2 * PAGE_SLACK });
  const weights = await loadWeights(source, manifest, backend, { verify: o.verify ?? true });
  model = { backend, config, weights, plan, digest };
  plain = new Runner(model);
  return { variant: backend.variant, weightBytes: count.used, vocab: config.vocab };
}

/** Reads a pack's shards and throws them away: what the storage alone takes. */
async function readOnly(bucket: R2Like, id: string): Promise<object> {
  const source = r2Pack(bucket, `${id}/`);
  const { manifest } = await openPack(source);
  let bytes = 0;
  for (const shard of manifest.shards) for await (const chunk of chunks(await source.open(shard.name))) bytes += chunk.length;
  return { bytes };
}

function runner(speculate: boolean): Runner {
  if (!model || !plain) throw new Error('load a model first');
  if (!speculate) return plain;
  speculating ??= new Runner(model, true);
  return speculating;
}

async function prefill(o: PrefillBody): Promise<object> {
  current = runner(o.speculate ?? false);
  return { cached: await current.prefill(o.prompts, o.maxTokens, o.stopIds) };
}

function caseOf({ kind, shape }: KernelBody): Case {
  if (kind === 'matmul') return matmulCase(shape as unknown as Parameters<typeof matmulCase>[0]);
  if (kind === 'attention') return attentionCase(shape as unknown as Parameters<typeof attentionCase>[0]);
  return topkCase(...(shape as Parameters<typeof topkCase>));
}

function kernel(o: KernelBody): object {
  const key = JSON.stringify([o.kind, o.shape]);
  const c = caseOf(o);
  if (prepared?.key !== key) {
    prepared = undefined;
    prepared = { key, run: c.prepare(createWasm({ modules, memoryBytes: c.memoryBytes })) };
  }
  for (let i = 0; i < o.iterations; i++) prepared.run.run();
  return { macs: c.macs ?? 0, bytes: c.bytes ?? 0 };
}

const PROBES = { i8: 'i8mul', i8sum: 'i8sum', i8dot: 'i8dot', f32: 'f32mul' } as const;

function measure({ kind, bytes, iterations }: ProbeBody): object {
  if (!probe || probe.bytes < bytes) {
    const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) + 1 });
    new Uint8Array(memory.buffer).fill(1);
    const { exports } = new WebAssembly.Instance(probeModule, { env: { memory } });
    probe = { bytes, exports: exports as unknown as ProbeExports };
  }
  const { exports } = probe;
  const piece = 1 << 18; // short calls, so that optimized code comes in
  let sum = 0;
  for (let i = 0; i < iterations; i++) {
    if (kind === 'read') for (let at = 0; at < bytes; at += piece) sum += exports.read(at, Math.min(piece, bytes - at));
    else sum += exports[PROBES[kind]](bytes);
  }
  return { sum };
}

export default {
  async fetch(request: Request, env: { PACKS: R2Like }): Promise<Response> {
    try {
      const body: unknown = await request.json();
      return Response.json(await answer(new URL(request.url).pathname, body, env));
    } catch (error) {
      return Response.json({ error: String(error instanceof Error ? error.stack : error) }, { status: 500 });
    }
  },
};

async function answer(path: string, body: unknown, env: { PACKS: R2Like }): Promise<object> {
  switch (path) {
    case '/nothing':
      return {};
    case '/load':
      return load(env.PACKS, body as LoadBody);
    case '/read':
      return readOnly(env.PACKS, (body as LoadBody).id);
    case '/prefill':
      return prefill(body as PrefillBody);
    case '/decode':
      return { tokens: (await current?.decode((body as { steps: number }).steps)) ?? 0 };
    case '/measured': {
      const { ms, rows } = body as MeasuredBody;
      runner(true).engine.measured(ms, rows);
      return {};
    }
    case '/drop':
      return { output: current?.drop() ?? [] };
    case '/kernel':
      return kernel(body as KernelBody);
    case '/probe':
      return measure(body as ProbeBody);
    default:
      throw new Error(`no ${path}`);
  }
}
