/** Whether a model is served in one piece or in stages, before anything of it is loaded. */
import { jsBytes } from '../durable-objects/replica/memory.ts';
import type { KvFormat } from '../engine/backend.ts';
import {
  allocPart,
  formatsOf,
  MemoryPlanError,
  type ModelConfig,
  type Plan,
  type PlanInput,
  planMemory,
  type TensorShape,
  type WeightFormat,
  whole,
} from '../engine/index.ts';
import { countWasm } from '../kernels/wasm/index.ts';
import { folderPack } from '../models/node/files.ts';
import { openPack } from '../models/pack/load.ts';
import { formatsIn } from '../models/pack/manifest.ts';
import { describeStages } from '../policy/cuts.ts';
import { parseSetting, readNumber } from '../policy/settings.ts';
import type { StagesPlan } from '../policy/stages.ts';
import { isolatesOf } from '../policy/stages.ts';
import type { LocalPack } from './packs.ts';
import { planStages } from './stages.ts';
import { table } from './table.ts';

type FormatOf = (t: TensorShape) => WeightFormat;

/**
 * The cuts of a pack that one isolate cannot hold, or that is wanted in `stages` of them; undefined: one piece. Says how it is cut. Throws with
 * the arithmetic when it cannot be.
 */
export async function cutPack(
  pack: LocalPack,
  vars: Record<string, string>,
  stages: number | undefined,
  say: (line: string) => void,
): Promise<StagesPlan | undefined> {
  if (stages === 1) return undefined;
  const { manifest } = await openPack(folderPack(pack.folder));
  const { config } = manifest;
  const formatOf = formatsIn(manifest.tensors);
  const wish = {
    ...{ memoryMb: readNumber('MEMORY_MB', vars), kv: (parseSetting('KV', vars.KV) ?? 'i8') as KvFormat },
    ...{ context: readNumber('CONTEXT', vars), maxSequences: readNumber('MAX_BATCH', vars) },
    adapterBytes: readNumber('ADAPTERS_MB', vars) << 20,
  };
  if (stages === undefined && fitsOne(config, formatOf, wish, readNumber('REPLICAS', vars))) return undefined;
  const plan = planStages(config, formatOf, { ...wish, stages });
  const [header, ...rows] = describeStages(plan);
  const why = stages === undefined ? `is larger than an isolate of ${wish.memoryMb} MB` : 'is cut as STAGES asks';
  say(`${pack.id} ${why} and served by ${isolatesOf(plan)}, ${plan.context} tokens of context:\n`);
  for (const line of table(header, rows)) say(`  ${line}`);
  say('');
  return plan;
}

function fitsOne(config: ModelConfig, formatOf: FormatOf, o: Wish, engines: number): boolean {
  try {
    planWhole(config, formatOf, { ...o, engines });
    return true;
  } catch (error) {
    if (error instanceof MemoryPlanError) return false;
    throw error;
  }
}

/** The plan of an isolate that holds the whole model, as the replica makes it. Throws MemoryPlanError with the arithmetic. */
export function planWhole(config: ModelConfig, formatOf: FormatOf, o: Wish & Pick<PlanInput, 'engines' | 'pages'>): Plan {
  const count = countWasm();
  const formats = formatsOf(allocPart(count, config, whole(config), formatOf).weights);
  return planMemory({
    ...{ config, formats, kv: o.kv, weightBytes: count.used, memoryBytes: o.memoryMb * 2 ** 20, jsBytes: jsBytes(config.vocab) },
    ...{ engines: o.engines, context: o.context, maxSequences: o.maxSequences, pages: o.pages, adapterBytes: o.adapterBytes },
    measure(build) {
      const c = countWasm();
      const before = c.used;
      build(c);
      return c.used - before;
    },
  });
}

type Wish = Omit<Parameters<typeof planStages>[2], 'stages'>;
