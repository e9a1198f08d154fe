/** `turnstone stages`: how a model is cut into isolates, and with `--out` the wrangler configuration of each script. */
import { relative } from 'node:path';
import type { KvFormat } from '../../engine/backend.ts';
import { folderPack } from '../../models/node/files.ts';
import { openPack } from '../../models/pack/load.ts';
import { describeStages, isolatesOf } from '../../policy/cuts.ts';
import { writeDeployment } from '../deploy-stages.ts';
import { findModel } from '../hub/find.ts';
import { localPack } from '../packs.ts';
import { planStages } from '../stages.ts';
import { table } from '../table.ts';

export interface StagesFlags {
  stages?: number;
  context?: number;
  memoryMb?: number;
  kv?: KvFormat;
  format?: string;
  out?: string;
  name?: string;
}

/** Rejects with the arithmetic when the model cannot be cut so. */
export async function stagesCommand(model: string, o: StagesFlags, say: (line: string) => void = console.log): Promise<void> {
  const { memoryMb = 128, kv = 'i8' } = o;
  const found = await findModel(model, { memoryMb });
  const pack = await localPack(found?.path, say, o.format, found?.id);
  const { manifest } = await openPack(folderPack(pack.folder));
  const formats = new Map(manifest.tensors.map((t) => [t.name, t.format]));
  const plan = planStages(manifest.config, (t) => formats.get(t.name) ?? 'f32', { ...o, memoryMb, kv });
  const [header, ...rows] = describeStages(plan);
  say(`${pack.id}: ${isolatesOf(plan)} isolates of ${memoryMb} MB, ${plan.context.toLocaleString('en-US')} tokens of context`);
  for (const line of table(header, rows)) say(`  ${line}`);
  if (!o.out) return;
  const vars = { ...(o.kv && { KV: kv }) };
  const scripts = writeDeployment({ model: pack.id, plan, out: o.out, name: o.name, vars });
  say('');
  say(`Its files go into the bucket under ${pack.id}/: docs/models.md. Then, in this order:`);
  for (const { path } of scripts) say(`  npx wrangler deploy --config ${relative(process.cwd(), path)}`);
}
