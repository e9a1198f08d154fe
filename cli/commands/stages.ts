/** `turnstone stages`: how a model is cut into isolates, and with `--out` the wrangler configuration of each script. */
import { relative } from 'node:path';
import type { KvFormat } from '../../engine/backend.ts';
import { folderPack } from '../../models/node/files.ts';
import { openPack } from '../../models/pack/load.ts';
import { formatsIn } from '../../models/pack/manifest.ts';
import { describeStages } from '../../policy/cuts.ts';
import { faultsIn, readNumber } from '../../policy/settings.ts';
import { isolatesOf } from '../../policy/stages.ts';
import { checkName, writeDeployment } from '../deploy/scripts.ts';
import { findModel } from '../hub/find.ts';
import { localPack } from '../packs.ts';
import { planStages } from '../stages.ts';
import { table } from '../table.ts';

export interface StagesFlags {
  stages?: number;
  context?: number;
  maxBatch?: number;
  memoryMb?: number;
  kv?: KvFormat;
  adaptersMb?: number;
  format?: string;
  out?: string;
  name?: string;
  json?: boolean;
}

/** Rejects with the arithmetic when the model cannot be cut so. */
export async function stagesCommand(model: string, o: StagesFlags, print: (line: string) => void = console.log): Promise<void> {
  const say = o.json ? () => {} : print;
  const { memoryMb = 128, kv = 'i8' } = o;
  check(o);
  const found = await findModel(model, { memoryMb });
  const pack = await localPack(found?.path, o.json ? console.error : say, o.format, found?.id);
  const { manifest } = await openPack(folderPack(pack.folder));
  const plan = planStages(manifest.config, formatsIn(manifest.tensors), {
    ...{ ...o, memoryMb, kv, maxSequences: o.maxBatch },
    adapterBytes: readNumber('ADAPTERS_MB', { ADAPTERS_MB: o.adaptersMb?.toString() }) << 20,
  });
  const [header, ...rows] = describeStages(plan);
  say(`${pack.id}: ${isolatesOf(plan)} isolates of ${memoryMb} MB, ${plan.context.toLocaleString('en-US')} tokens of context`);
  for (const line of table(header, rows)) say(`  ${line}`);
  if (!o.out) return o.json ? print(JSON.stringify({ model: pack.id, ...plan }, null, 2)) : undefined;
  const vars = { ...(o.kv && { KV: kv }), ...(o.adaptersMb && { ADAPTERS_MB: String(o.adaptersMb) }) };
  const shared = { ...(o.memoryMb && { MEMORY_MB: String(memoryMb) }) };
  const scripts = writeDeployment({ model: pack.id, plan, out: o.out, name: o.name, vars, shared });
  if (o.json) return print(JSON.stringify({ model: pack.id, ...plan, scripts }, null, 2));
  say('');
  say(`Put the files of ${relative(process.cwd(), pack.folder)} into the bucket as ${pack.id}/<file>, then deploy in this order:`);
  const config = (path: string) => `--config ${relative(process.cwd(), path)}`;
  const paths = scripts.map(({ path }) => config(path));
  for (const { first } of scripts) if (first) say(`  npx wrangler deploy ${config(first)}    (once)`);
  for (const path of paths) say(`  npx wrangler deploy ${path}`);
  say('To try the same files on this machine first, with the bucket in a folder (wrangler r2 object put --local):');
  say(`  npx wrangler dev ${[...paths].reverse().join(' ')} --var PUBLIC:1`);
}

/** Throws naming the flag that is outside its range; the same as of the settings of `start`. */
function check({ stages, context, maxBatch, memoryMb, kv, adaptersMb, name }: StagesFlags): void {
  const settings = { STAGES: stages, CONTEXT: context, MAX_BATCH: maxBatch, MEMORY_MB: memoryMb, KV: kv, ADAPTERS_MB: adaptersMb };
  const faults = faultsIn(Object.fromEntries(Object.entries(settings).map(([key, value]) => [key, value?.toString()])));
  if (faults.length > 0) throw new Error(faults.join('\n'));
  if (stages === 1) throw new Error('--stages is 1: a model in one piece needs no configuration but wrangler.toml');
  if (name !== undefined) checkName(name);
}
