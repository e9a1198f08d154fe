/** Graphs of PyTorch's on the simulated device: what the compiler in python/turnstone/compiler.py planned, recorded on the NPU backend. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from '../../cli/build.ts';
import type { Act, ActFormat, Activation, Batch, Buf, KvPool, Weight } from '../../engine/backend.ts';
import { FORMATS, fits, packWeight, weightBytes } from '../../engine/formats.ts';
import { PAGE } from '../../engine/layout.ts';
import { hfConfig } from '../../models/hf/config.ts';
import type { JsonObject } from '../../models/json.ts';
import { quantizeRtn } from '../../models/quantize/rtn.ts';
import { createNpu, type Npu } from '../../simulator/backend.ts';
import { checkDevice, type DeviceSpec, device as shipped } from '../../simulator/device/index.ts';
import { isTimed, timedBytes } from '../../simulator/program/isa.ts';
import { reportHtml } from '../../simulator/report/html.ts';
import { summarize } from '../../simulator/report/summary.ts';
import { rooflineSvg, timelineSvg } from '../../simulator/report/svg.ts';
import { chromeTrace } from '../../simulator/report/trace.ts';
import type { Launch } from '../../simulator/run/machine.ts';
import { modelShapes } from '../../simulator/shapes.ts';
import { type Numbers, simulate } from '../../simulator/simulate.ts';
import type { Chain } from './chain.ts';
import './chain.ts';
import type { Call } from './call.ts';
import type { Arr } from './frames.ts';
import './quantize.ts';

/** A value of the plan: f32 [R, C] on the device. */
type Id = number;

/** One op of the plan. Ids are values; `w`, `g`, `bias` and the like name constants or inputs by id too. */
type PlanOp =
  | { op: 'norm'; x: Id; g: Id; eps: number; out: Id }
  | { op: 'matmul'; x: Id; w: Id; bias?: Id; into?: Id; out: Id }
  | { op: 'glu'; x: Id; activation: Activation; out: Id }
  | {
      op: 'attention';
      qkv: Id;
      table: Id | null;
      heads: number;
      kvHeads: number;
      d: number;
      batch: number;
      causal: boolean;
      scale: number;
      norm?: { q: Id; k: Id; eps: number };
      out: Id;
    }
  | { op: 'chain'; chain: Chain; inputs: Id[]; outs: Id[] }
  | { op: 'outside'; name: string; shape: Record<string, unknown>; args: Record<string, Id>; writes: string[] };

interface Plan {
  /** Rows and columns of each value; `weight`: a matrix [N, K] that a matmul reads. */
  readonly values: readonly { readonly R: number; readonly C: number; readonly weight?: boolean }[];
  readonly inputs: readonly Id[];
  readonly ops: readonly PlanOp[];
  readonly outputs: readonly Id[];
}

interface Loaded {
  readonly spec: DeviceSpec;
  readonly npu: Npu;
  readonly plan: Plan;
  readonly timed: boolean;
  readonly launches: Launch[];
  readonly slots: ReadonlyMap<Id, Slot>;
  record(): void;
}

/** Where a value lies: as f32, as activations of a matmul, as a weight. */
interface Slot {
  f32?: Buf;
  i8?: Act;
  weight?: Weight;
}

const graphs = new Map<number, Loaded>();
let next = 1;

function specOf(value: unknown): DeviceSpec {
  return typeof value === 'string' ? shipped(value) : checkDevice(value);
}

/** Allocates a plan on a device and gives what records it. */
function loadPlan(plan: Plan, numbers: Numbers, npu: Npu): Pick<Loaded, 'slots' | 'record'> {
  const slots = new Map<Id, Slot>();
  const slot = (id: Id): Slot => {
    let s = slots.get(id);
    if (!s) slots.set(id, (s = {}));
    return s;
  };
  const size = (id: Id) => plan.values[id];
  const f32 = (id: Id): Buf => (slot(id).f32 ??= npu.alloc(size(id).R * size(id).C * 4, `v${id}`));
  const formatOf = (K: number) => (isTimed(numbers) ? 'w8' : fits(numbers, K) ? numbers : 'f32');
  const weight = (id: Id): Weight => {
    const { R: N, C: K } = size(id);
    const format = formatOf(K);
    const bytes = isTimed(numbers) ? N * K * timedBytes(numbers) : weightBytes(format, N, K);
    return (slot(id).weight ??= { format, N, K, data: npu.alloc(bytes, `w${id}`) });
  };
  const i8 = (id: Id): Act => (slot(id).i8 ??= npu.act('i8', size(id).R, size(id).C, `a${id}`));
  const act = (id: Id, format: ActFormat): Act => (format === 'i8' ? i8(id) : { format, rows: size(id).R, K: size(id).C, data: f32(id) });

  // a value that only matmuls with i8 activations read is made as such; any other as f32
  const plain = new Set<Id>(plan.outputs);
  const made = new Set<Id>();
  for (const o of plan.ops) {
    if (o.op === 'matmul') {
      if (FORMATS[formatOf(size(o.x).C)].act !== 'i8') plain.add(o.x);
      if (o.into !== undefined) plain.add(o.into);
    } else if (o.op === 'chain') for (const id of o.inputs) plain.add(id);
    else if (o.op === 'outside') for (const id of Object.values(o.args)) plain.add(id);
    else if (o.op === 'attention') plain.add(o.qkv);
    else plain.add(o.x);
    if (o.op === 'norm' || o.op === 'attention' || o.op === 'glu') made.add(o.out);
  }
  const wants = (id: Id): ActFormat => (plain.has(id) || !made.has(id) ? 'f32' : 'i8');

  const attentions = new Map<PlanOp, ReturnType<typeof attentionOf>>();
  function attentionOf(o: Extract<PlanOp, { op: 'attention' }>) {
    const rows = size(o.qkv).R;
    const T = rows / o.batch;
    const each = Math.ceil(T / PAGE);
    const shape = { format: numbers === 'f32' ? 'f32' : 'i8', layers: 1, kvHeads: o.kvHeads, headDim: o.d } as const;
    const kv: KvPool = npu.kvPool(shape, o.batch * each);
    const words = (label: string, count: number, at: (i: number) => number): Buf => {
      const b = npu.alloc(count * 4, label);
      npu.write(b, new Uint8Array(Uint32Array.from({ length: count }, (_, i) => at(i)).buffer));
      return b;
    };
    const seqOf = words('seqOf', rows, (t) => Math.floor(t / T));
    const slots = words('slot', rows, (t) => Math.floor(t / T) * each * PAGE + (t % T));
    const blocks = words('blocks', o.batch * each, (i) => i);
    const common = { T: rows, S: o.batch, R: 0, maxBlocks: each, ids: seqOf, rows: seqOf, slot: slots, seqOf, blocks };
    const positions = words('pos', rows, (t) => t % T);
    const stored: Batch = { ...common, pos: positions };
    // a token that sees all of its sequence stands at its end
    const seen: Batch = o.causal ? stored : { ...common, pos: words('last', rows, () => T - 1) };
    const still = o.table === null ? npu.alloc(T * o.d * 4, 'still') : undefined;
    if (still) {
      const rows = new Float32Array(T * o.d);
      for (let t = 0; t < T; t++) rows.fill(1, t * o.d, t * o.d + o.d / 2);
      npu.write(still, new Uint8Array(rows.buffer));
    }
    return { kv, stored, seen, still, q: npu.alloc(rows * o.heads * o.d * 4, 'q') };
  }

  const quantized = new Set<Id>();
  /** The activations of a matmul; quantized by an op of their own where nobody did it on the way. */
  const input = (id: Id, w: Weight): Act => {
    const format = FORMATS[w.format].act;
    if (format === 'f32') return act(id, 'f32');
    if (wants(id) === 'i8' || isTimed(numbers)) return i8(id);
    if (!quantized.has(id)) {
      quantized.add(id);
      npu.outside('turnstone.quantize', { R: size(id).R, C: size(id).C }, { x: f32(id), y: i8(id).data }, ['y']);
    }
    return i8(id);
  };

  const kept = new Set(plan.outputs);
  const record = (): void => {
    quantized.clear();
    for (const o of plan.ops) {
      recordOne(o);
      // what is read afterwards must be filled: it is not fused into its reader
      if ('out' in o && kept.has(o.out)) void npu.submit();
    }
  };
  const recordOne = (o: PlanOp): void => {
    if (o.op === 'norm') npu.norm(act(o.out, wants(o.out)), f32(o.x), f32(o.g), o.eps, size(o.x).R, size(o.x).C);
    else if (o.op === 'matmul') {
      const w = weight(o.w);
      const x = input(o.x, w);
      if (o.into !== undefined) slot(o.out).f32 = f32(o.into); // in place: nobody reads what was there any more
      npu.matmul(f32(o.out), x, w, size(o.x).R, { ...(o.bias !== undefined && { bias: f32(o.bias) }), accumulate: o.into !== undefined });
    } else if (o.op === 'glu') npu.glu(act(o.out, wants(o.out)), f32(o.x), size(o.out).R, size(o.out).C, o.activation);
    else if (o.op === 'attention') {
      let a = attentions.get(o);
      if (!a) attentions.set(o, (a = attentionOf(o)));
      const table = o.table === null ? (a.still as Buf) : f32(o.table);
      const norm = o.norm && { q: f32(o.norm.q), k: f32(o.norm.k), eps: o.norm.eps };
      npu.ropeStore(a.q, a.kv, f32(o.qkv), table, a.stored, 0, o.heads, norm);
      npu.attention(act(o.out, wants(o.out)), a.q, a.kv, a.seen, 0, o.heads, { scale: o.scale });
    } else if (o.op === 'chain') {
      const args = Object.fromEntries([...o.inputs.map((id, i) => [`x${i}`, f32(id)]), ...o.outs.map((id, i) => [`y${i}`, f32(id)])]);
      npu.outside(
        'turnstone.chain',
        o.chain,
        args,
        o.outs.map((_, i) => `y${i}`),
      );
    } else {
      npu.outside(o.name, o.shape, Object.fromEntries(Object.entries(o.args).map(([n, id]) => [n, f32(id)])), o.writes);
    }
  };
  for (const id of plan.inputs) {
    if (size(id).weight) weight(id);
    else f32(id);
  }
  return { slots, record };
}

/** A weight's bytes for the device. */
function packed(w: Weight, x: Float32Array): Uint8Array {
  if (w.format === 'f32') return packWeight('f32', w.N, w.K, x);
  if (w.format !== 'w4' && w.format !== 'w8') throw new Error(`no way to round to ${w.format}`);
  return packWeight(w.format, w.N, w.K, quantizeRtn(w.format, x));
}

async function tileModules() {
  const of = (name: string) => readFile(join(ROOT, `.build/wasm/turnstone-npu-${name}.wasm`)).then((b) => new WebAssembly.Module(b));
  const simd = await of('simd').catch(() => undefined);
  const relaxed = await of('relaxed').catch(() => undefined);
  return simd && { simd, ...(relaxed && { relaxed }) };
}

const graphOf = (id: unknown): Loaded => {
  const g = graphs.get(Number(id));
  if (!g) throw new Error(`no graph ${String(id)}`);
  return g;
};

export const devices: Record<string, Call> = {
  /** Makes a plan ready: on bytes, or timed alone. `chips`, `options`: of the machine. */
  'device.load': async ({ device, numbers, timed, plan, chips }) => {
    const spec = specOf(device);
    const launches: Launch[] = [];
    const modules = timed ? undefined : await tileModules();
    const npu = createNpu(spec, {
      ...{ chips: Number(chips ?? 1), timingOnly: timed === true, onLaunch: (l) => launches.push(l) },
      ...(timed === true && isTimed(numbers as Numbers) && { numbers: numbers as 'bf16' | 'fp8' }),
      ...(modules && { modules }),
    });
    const p = plan as Plan;
    const id = next++;
    graphs.set(id, { spec, npu, plan: p, timed: timed === true, launches, ...loadPlan(p, numbers as Numbers, npu) });
    return { value: id };
  },

  /** Runs it on its inputs (all of them, or none where it is timed alone). Answers with µs of the device, and the outputs. */
  'device.run': async ({ graph, changed }, arrays) => {
    const g = graphOf(graph);
    g.launches.length = 0;
    ((changed ?? []) as number[]).forEach((at, i) => {
      const s = g.slots.get(g.plan.inputs[at]) as Slot;
      const data = arrays[i].data as Float32Array;
      if (s.weight) g.npu.write(s.weight.data, packed(s.weight, data));
      else g.npu.write(s.f32 as Buf, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    });
    g.record();
    await g.npu.submit();
    const us = g.launches.reduce((n, l) => n + l.us, 0);
    const out: Arr[] = [];
    if (!g.timed) {
      for (const id of g.plan.outputs) {
        const { R, C } = g.plan.values[id];
        const raw = await g.npu.read((g.slots.get(id) as Slot).f32 as Buf, 0, R * C * 4);
        out.push({ shape: [R, C], data: new Float32Array(raw.buffer, raw.byteOffset, R * C) });
      }
    }
    const launches = g.launches.map((l) => ({ name: l.name, kind: l.kind, us: l.us, flops: l.flops }));
    return { value: { us, launches }, arrays: out };
  },

  /** Summary of the graphs' last runs together; with `out` a page, its pictures and a Chrome trace are written there. */
  'device.report': async ({ graphs: ids, out, title }) => {
    const all = (ids as number[]).map(graphOf);
    const { spec, npu } = all[0];
    const launches = all.flatMap((g) => g.launches);
    const { chips } = npu.machine;
    if (typeof out === 'string') {
      const name = String(title);
      await mkdir(out, { recursive: true });
      await writeFile(join(out, 'report.html'), reportHtml(spec, launches, name, chips));
      await writeFile(join(out, 'roofline.svg'), rooflineSvg(spec, launches));
      await writeFile(join(out, 'timeline.svg'), timelineSvg(spec, launches, { title: name }));
      await writeFile(join(out, 'trace.json'), chromeTrace(launches, { cyclesPerUs: spec.clockGHz * 1000, opUs: spec.launch.opUs }));
    }
    return { value: { device: spec.name, ...summarize(spec, launches, chips) } };
  },

  /** Forgets graphs. */
  'device.drop': ({ graphs: ids }) => {
    for (const id of ids as number[]) graphs.delete(id);
    return {};
  },

  /** Imports a module that registers an op from outside. */
  'device.use': async ({ module }) => {
    await import(pathToFileURL(resolve(String(module))).href);
    return {};
  },

  /** The configuration behind a shape's name (simulator/shapes.ts) or a Hugging Face config.json. */
  'device.shape': ({ name, config }) => {
    if (typeof name === 'string') {
      if (!Object.hasOwn(modelShapes, name)) throw new Error(`no shape ${name}, have ${Object.keys(modelShapes).join(', ')}`);
      return { value: modelShapes[name] };
    }
    const type = (config as JsonObject).model_type;
    const has = { qwen2: /proj\.bias$/, qwen3: /_norm\.weight$/ }[String(type)]; // what these always have
    return { value: hfConfig(config as JsonObject, (tensor) => has?.test(tensor) ?? false) };
  },

  /** Prefill of a model's shape by Turnstone's own forward pass, timed. */
  'device.simulate': ({ device, model, prompt, cached, batch, numbers, logits, chips, kv }) => {
    const s = simulate({
      ...{ device: specOf(device), model: model as never, prompt: Number(prompt), cached: Number(cached ?? 0), batch: Number(batch ?? 1) },
      ...{ numbers: numbers as Numbers, kv: kv === 'f32' ? 'f32' : 'i8', logits: logits === true, options: { chips: Number(chips ?? 1) } },
    });
    const launches = s.launched.map((l) => ({ name: l.name, kind: l.kind, us: l.us }));
    return { value: { us: s.us, parts: s.parts, launches, weightBytes: s.weightBytes } };
  },
};
