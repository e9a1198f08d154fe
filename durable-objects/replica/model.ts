import relaxed from '../../.build/wasm/turnstone-relaxed.wasm';
import simd from '../../.build/wasm/turnstone-simd.wasm';
import type { Engine } from '../../engine/index.ts';
import { deployedPack, type PackBindings } from '../../models/pack/source.ts';
import { type ApiError, isolateTaken, serverOverloaded } from '../../openai/errors.ts';
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
/** Requests on their way into its engines, by the id of the replica's object, and when the last began, ms. */
const calls = new Map<string, { open: number; began: number }>();
/** An object that was reset, or is elsewhere now, leaves calls open and an engine that does no step: nobody's after so long. */
const CALL_MS = 60_000;
const STEP_MS = 10_000;

/**
 * The isolate's model, loaded on first use. An isolate holds one, whose plan has all of its memory: another one that is idle is let
 * go of; one that computes stays, and this rejects with the arithmetic. Rejects with the plan's arithmetic or the pack's error, too;
 * then the next call tries again. `replica`: the object that asks.
 */
export async function served(env: ReplicaEnv, id: string, replica: string): Promise<Served> {
  for (let other = holder; other !== undefined && other.id !== id; other = holder) {
    const model = await other.model.catch(() => undefined);
    if (holder !== other) continue; // somebody was faster
    if (model && isBusy(model, replica)) throw held(model, id);
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

/** False: another model has the isolate now, or another replica the engine, and it must be opened anew before it computes. */
export const isHeld = (model: Served, engine: Engine, replica: string): boolean =>
  holder?.loaded === model && model.engines.get(replica)?.engine === engine;

/** While `work` of a replica settles, the isolate's model is not let go of, nor is its engine lent. */
export async function holding<T>(replica: string, work: () => Promise<T>): Promise<T> {
  const mine = calls.get(replica) ?? { open: 0, began: 0 };
  calls.set(replica, mine);
  mine.open++;
  mine.began = Date.now();
  try {
    return await work();
  } finally {
    mine.open--;
  }
}

/** The object begins: what an earlier one of its name was asked is over. */
export const begins = (replica: string): void => void calls.delete(replica);

function calledNow(replica: string): boolean {
  const { open, began } = calls.get(replica) ?? { open: 0, began: 0 };
  return open > 0 && Date.now() - began < CALL_MS;
}

const isBusy = ({ engines }: Served, replica: string): boolean =>
  [...calls.keys()].some((other) => other !== replica && calledNow(other)) || [...engines.values()].some(computes);

function computes({ engine, loop }: Kept): boolean {
  const { running, waiting } = engine.stats();
  return (running + waiting > 0 || loop?.runs === true) && Date.now() - (loop?.steppedAt ?? 0) < STEP_MS;
}

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
 * again, prefix cache, counters and all. Where more replicas have come into the isolate than it is planned for, one that computes
 * nothing lends its engine, pages and counters with it; where all compute, this throws `isolateTaken`.
 */
export function openEngine(s: Served, env: ReplicaEnv, replica: string): Kept {
  const kept =
    s.engines.get(replica) ??
    (hasRoom(s, env, replica) ? startEngine(s, isOn('SPECULATE', env) ? undefined : Number.POSITIVE_INFINITY) : lent(s));
  s.engines.set(replica, kept);
  kept.engine.reset();
  return kept;
}

/** Whether a replica has an engine, or one may be made for it without a neighbour's. */
export const hasRoom = (s: Served, env: ReplicaEnv, replica: string): boolean =>
  s.engines.has(replica) || s.engines.size < replicasHere(env);

/** The engine of a replica that computes nothing, which has none from now on. */
function lent(s: Served): Kept {
  const idle = [...s.engines].find(([owner, kept]) => !calledNow(owner) && !computes(kept));
  if (!idle) throw isolateTaken();
  s.engines.delete(idle[0]);
  return idle[1];
}
