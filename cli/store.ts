/** The local R2, filled before anything listens. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Log, LogLevel, Miniflare } from 'miniflare';
import { type LocalPack, packStamp, uploadPack } from './packs.ts';

/** Puts the pack into the local R2 before anything listens, unless it is there. */
export async function storePack(r2: string, pack: LocalPack, say: (line: string) => void): Promise<void> {
  mkdirSync(r2, { recursive: true });
  const note = join(r2, `pack-${pack.id}.sha256`);
  const stamp = packStamp(pack);
  if (existsSync(note) && readFileSync(note, 'utf8') === stamp) return;
  say(`Storing ${pack.id} …`);
  const bare = new Miniflare({
    modules: true,
    script: 'export default {}',
    r2Buckets: { PACKS: 'turnstone-packs' },
    r2Persist: r2,
    cf: false,
    log: new Log(LogLevel.ERROR),
  });
  try {
    await uploadPack(await bare.getR2Bucket('PACKS'), pack);
  } finally {
    await bare.dispose();
  }
  writeFileSync(note, stamp);
}
