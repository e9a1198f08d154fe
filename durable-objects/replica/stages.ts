/** A replica of a model that is cut into stages (policy/stages.ts): which are elsewhere, which part is here, and what of this isolate's memory they take. */

import { type Backend, type KvFormat, type ModelConfig, type Plan, StagedRunner } from '../../engine/index.ts';
import { allocLogits } from '../../engine/logits.ts';
import { stepSize } from '../../engine/plan.ts';
import { stageSize } from '../../engine/stage.ts';
import { countWasm } from '../../kernels/wasm/index.ts';
import type { Manifest } from '../../models/pack/manifest.ts';
import type { PackSource } from '../../models/pack/source.ts';
import { readChoice, readNumber } from '../../policy/settings.ts';
import type { StagesPlan } from '../../policy/stages.ts';
import type { Layout } from '../../serving/run/open.ts';
import type { Hops } from '../../serving/trace/hops.ts';
import { buildId } from '../build-id.ts';
import type { ReplicaEnv } from '../env.ts';
import { objectNamed } from '../place.ts';
import { allocStage, openStage } from '../stage/load.ts';
import { RemoteStage } from '../stage/port.ts';
import type { StageObject } from '../stage/wire.ts';
import { stubAs } from '../stub.ts';
import { stageFacet } from './facets.ts';

/** The cuts that `STAGES` says, or undefined. Throws when it says something else. */
export function stagesOf(env: ReplicaEnv): StagesPlan | undefined {
  if (!env.STAGES) return undefined;
  if (readNumber('REPLICAS', env) !== 1) throw new Error('a model in stages has one replica: unset REPLICAS');
  try {
    return JSON.parse(env.STAGES) as StagesPlan;
  } catch {
    throw new Error('STAGES is no plan of stages');
  }
}

/** The layout of a model in stages. */
export function layoutOf(stages: StagesPlan, o: Omit<StagesOptions, 'backend' | 'plan'>): Layout {
  const plan = enginePlan(stages, o.manifest.config, readChoice('KV', o.env), readNumber('ADAPTERS_MB', o.env) << 20);
  return { plan, memoryBytes: memoryHere(stages, plan, o.manifest) + 64, load: (backend) => openStages(stages, { ...o, backend, plan }) };
}

/** The engine's plan for them. */
const enginePlan = (p: StagesPlan, config: ModelConfig, kv: KvFormat, adapters: number): Plan => ({
  ...stepSize(config, p, p.context),
  ...(adapters > 0 && { adapters }),
  ...(p.windowPages !== undefined && { windowPages: p.windowPages }),
  ...{ pages: p.pages, kv, bytes: p.replica },
});

/** What this isolate's backend holds: logits of a step, and the part of the model that is here. */
function memoryHere(p: StagesPlan, plan: Plan, manifest: Manifest): number {
  const count = countWasm();
  for (const { layers, embed, head } of p.stages.filter((s) => s.replica))
    allocStage(count, manifest, { part: { layers, embed, head }, kv: plan.kv, size: stageSize(plan), pages: plan.pages });
  count.alloc(plan.maxRows * manifest.config.vocab * 4, 'logits');
  allocLogits(count, plan.maxRows, manifest.config.vocab);
  return count.used;
}

interface StagesOptions {
  env: ReplicaEnv;
  /** The model's name. */
  id: string;
  source: PackSource;
  manifest: Manifest;
  digest: string;
  backend: Backend;
  plan: Plan;
  hops?: Hops;
}

/** Loads the part that is here, opens the others, and gives them as one. Rejects naming the stage that is not bound, does not answer or refuses. */
async function openStages({ stages, cores }: StagesPlan, o: StagesOptions): Promise<StagedRunner> {
  const { env, id, source, manifest, digest, backend, plan, hops } = o;
  const { pages, kv, maxRows, windowPages } = plan;
  const { context, maxTokens, maxSequences, maxRows: rows, maxBlocks, adapters } = stageSize(plan);
  const size = {
    context,
    maxTokens,
    maxSequences,
    maxRows: rows,
    maxBlocks,
    ...(adapters && { adapters }),
    ...(windowPages && { windowPages }),
  };
  const ports = await Promise.all(
    stages.map(({ layers, embed, head, replica }, i) => {
      const part = { layers, embed, head };
      if (replica) return openStage(source, manifest, backend, { part, kv, size, pages });
      const object = stageFacet(env, i) ?? stageObject(env, i);
      if (!object) throw new Error(`the model has ${stages.length} stages, but STAGE_${i} is not bound`);
      return new RemoteStage(`stage ${i}`, object, { build: buildId, pack: digest, model: id, part, kv, size, pages }, undefined, hops);
    }),
  );
  const staged = new StagedRunner({ backend, config: manifest.config, stages: ports, kv, pages, windowPages, maxRows, adapters, cores });
  await staged.open();
  return staged;
}

/** The stage of that number in a Worker of its own, or undefined where none is bound. */
function stageObject(env: ReplicaEnv, stage: number): (() => StageObject) | undefined {
  const objects = env[`STAGE_${stage}`];
  return objects && (() => stubAs<StageObject>(objectNamed(objects, `stage-${stage}`, env)));
}
