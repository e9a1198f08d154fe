import relaxed from '../../.build/wasm/turnstone-relaxed.wasm';
import simd from '../../.build/wasm/turnstone-simd.wasm';
import { deployedPack, type PackBindings } from '../../models/pack/source.ts';
import { type ApiError, serverOverloaded } from '../../openai/errors.ts';
import { isOn, readChoice, readNumber, readText } from '../../policy/settings.ts';
import { loadModel, startEngine, wasmMaker } from '../../serving/run/open.ts';
import type { Kept, Served } from '../../serving/run/runtime.ts';
import { Hops } from '../../serving/trace/hops.ts';
import { type ReplicaEnv, replicasHere } from '../env.ts';
import { jsBytes } from './memory.ts';
import { layoutOf, stagesOf } from './stages.ts';

const MIB = 1 << 20;

/** Weights belong to the isolate: objects of one class may share it, and 128 MB hold them once. */
let holder: Holder | undefined;
interface Holder {
  id: string;
  model: Promise<Served>;
  loaded?: Served;
}
/** Requests on their way into its engines. */
let calls = 0;

/**
 * The isolate's model, loaded on first use. An isolate holds one, whose plan has all of its memory: another one that is idle is let
 * go of; one that computes stays, and this rejects with the arithmetic. Rejects with the plan's arithmetic or the pack's error, too;
 * then the next call tries again.
 */
export async function served(env: ReplicaEnv, id: string): Promise<Served> {
  for (let other = holder; other !== undefined && other.id !== id; other = holder) {
    const model = await other.model.catch(() => undefined);
    if (holder !== other) continue; // somebody was faster
    if (model && isBusy(model)) throw held(model, id);
    holder = undefined;
  }
  if (holder === undefined) {
    const mine: Holder = { id, model: load(env, id) };
    holder = mine;
    mine.model.then(
      (model) => {
        mine.loaded = model;
      },
      () => {
        if (holder === mine) holder = undefined;
      },
    );
  }
  return holder.model;
}

/** False: another model has the isolate now, and this one must be opened anew before it computes. */
export const isHeld = (model: Served): boolean => holder?.loaded === model;

/** While `work` settles, the isolate's model is not let go of. */
export async function holding<T>(work: () => Promise<T> | T): Promise<T> {
  calls++;
  try {
    return await work();
  } finally {
    calls--;
  }
}

const isBusy = ({ engines }: Served): boolean =>
  calls > 0 ||
  [...engines.values()].some(({ engine }) => {
    const { running, waiting } = engine.stats();
    return running + waiting > 0;
  });

/** Two models are never planned into one isolate. */
function held({ id, plan: { bytes } }: Served, other: string): ApiError {
  const mib = (n: number) => Math.ceil(n / MIB);
  const used = bytes.js + bytes.weights + bytes.scratch + bytes.kv;
  return serverOverloaded(
    `'${other}' is not loaded: this isolate computes with '${id}', which holds ${mib(used)} of its ${mib(bytes.limit)} MiB (weights ${mib(bytes.weights)}, KV ${mib(bytes.kv)}, scratch ${mib(bytes.scratch)}, JavaScript ${mib(bytes.js)}), and lets go of it when its answers have ended.`,
  );
}

async function load(env: ReplicaEnv, id: string): Promise<Served> {
  const source = await deployedPack(env as PackBindings, id);
  // with an accelerator of other arithmetic no page here is exact to the bit any more, and none may be named as if it were
  const numerics = readText('NPU_NUMERICS', env);
  const staged = id === env.MODEL_ID ? stagesOf(env) : undefined;
  const hops = staged && new Hops();
  const model = await loadModel({
    ...{ source, id, numerics, maker: wasmMaker({ relaxed, simd }), toolCalls: readChoice('TOOL_CALLS', env), kv: readChoice('KV', env) },
    memoryBytes: readNumber('MEMORY_MB', env) * MIB,
    jsBytes,
    engines: replicasHere(env),
    context: readNumber('CONTEXT', env),
    maxSequences: readNumber('MAX_BATCH', env),
    adapterBytes: readNumber('ADAPTERS_MB', env) * MIB,
    layout: staged && ((manifest, digest) => layoutOf(staged, { env, id, source, manifest, digest, hops })),
  });
  return { ...model, hops };
}

/**
 * The engine of one replica, on the isolate's weights. An object that was evicted while its isolate lives finds its engine
 * again, prefix cache, counters and all. Throws when the isolate holds as many engines as were planned.
 */
export function openEngine(s: Served, env: ReplicaEnv, replica: string): Kept {
  const known = s.engines.get(replica);
  if (known) {
    known.engine.reset();
    return known;
  }
  const most = replicasHere(env);
  if (s.engines.size >= most) {
    throw serverOverloaded(`This isolate's memory is planned for ${most} replica${most > 1 ? 's' : ''} of the model; set REPLICAS.`);
  }
  const kept = startEngine(s, isOn('SPECULATE', env) ? undefined : Number.POSITIVE_INFINITY);
  s.engines.set(replica, kept);
  return kept;
}
