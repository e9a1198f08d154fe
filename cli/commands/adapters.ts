/** `turnstone adapters`: what a deployed server needs of LoRA adapters. */
import { aliasesIn } from '../../policy/settings.ts';
import { LocalAdapters, roomFor } from '../adapters.ts';
import { findModel } from '../hub/find.ts';
import { localPack } from '../packs.ts';

/** Writes `adapters/` for a base into a folder, and says how to bring it. Rejects with what is wrong with the base or an adapter. */
export async function adaptersCommand(
  model: string,
  pairs: readonly string[],
  out: string,
  say: (line: string) => void = console.log,
): Promise<void> {
  const named = aliasesIn(pairs.join(','));
  if (!named) throw new Error(`${pairs.join(' ')}: give pairs such as orders=./adapter`);
  const found = await findModel(model, {});
  const pack = await localPack(found?.path, say, undefined, found?.id);
  const adapters = new LocalAdapters(pack, out);
  for (const [name, path] of named) {
    const { bytes, id } = await adapters.add(name, path);
    say(`${pack.id}:${name}  ${(bytes / 1024).toFixed(0)} KiB  ${id.slice(0, 12)}`);
  }
  say(`\nPut the files of ${out}/adapters into the bucket as ${pack.id}/adapters/…, index.json last:`);
  say(`  npx wrangler r2 object put BUCKET/${pack.id}/adapters/index.json --file ${out}/adapters/index.json`);
  say(`and set the variable ADAPTERS_MB=${roomFor(undefined, adapters)} or more.`);
}
