/** What of a deployment lies in the account's bucket: packs. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { MANIFEST, readEmbeddingManifest } from '../../embedder/manifest.ts';
import { folderPack } from '../../models/node/files.ts';
import { openPack } from '../../models/pack/load.ts';
import { embeddingPack } from '../embedder.ts';
import type { LocalPack } from '../packs.ts';
import { size } from '../table.ts';
import type { Wrangler } from '../wrangler.ts';

export const BUCKET = 'turnstone-packs'; // as the configurations bind it
const UPLOADED = 'uploaded.json';
export type Say = (line: string) => void;

export interface PackFile {
  path: string;
  name: string;
  bytes: number;
  /** SHA-256, or of the manifest its text, which has those of the others. */
  digest: string;
}

/** A pack as it goes into the bucket, under its id. */
export interface Pack {
  id: string;
  /** The manifest last, so that a pack is there only when it is whole. */
  files: PackFile[];
}

export const bytesOf = (pack: Pack): number => pack.files.reduce((n, f) => n + f.bytes, 0);
export const objectsOf = (pack: Pack): string[] => pack.files.map((f) => `${BUCKET}/${pack.id}/${f.name}`);

/** A language model's, with how many tensors it has. */
export async function modelPack({ id, folder }: LocalPack): Promise<Pack & { tensors: number }> {
  const { manifest } = await openPack(folderPack(folder));
  return { ...withManifest(id, folder, [...manifest.shards, manifest.tokenizer]), tensors: manifest.tensors.length };
}

/** A sentence encoder's, the shipped one's unless it lies elsewhere. Throws with what to do when it is none. */
export function encoderPack(path: string | undefined): Pack {
  const { id, folder } = embeddingPack(path);
  const { model, tokenizer } = readEmbeddingManifest(readFileSync(join(folder, MANIFEST)));
  return withManifest(id, folder, [model, tokenizer]);
}

function withManifest(id: string, folder: string, parts: readonly { name: string; bytes: number; sha256: string }[]): Pack {
  const file = (name: string, bytes: number, digest: string): PackFile => ({ path: join(folder, name), name, bytes, digest });
  const text = readFileSync(join(folder, MANIFEST), 'utf8');
  return { id, files: [...parts.map((p) => file(p.name, p.bytes, p.sha256)), file(MANIFEST, Buffer.byteLength(text), text)] };
}

/** True when the call did what it was to do, false when it failed, as it does when there is nothing of that name. */
export const does = (call: Promise<unknown>): Promise<boolean> =>
  call.then(
    () => true,
    () => false,
  );

/** Makes the bucket where there is none. */
export async function openBucket(wrangler: Wrangler, say: Say): Promise<void> {
  if (await does(wrangler(['r2', 'bucket', 'info', BUCKET]))) return;
  await wrangler(['r2', 'bucket', 'create', BUCKET]);
  say(`  the bucket ${BUCKET} is made`);
}

/**
 * Brings the pack into the bucket. A manifest there that is this one says by its digests that all is there, whoever sent it; else what
 * was sent from `out` before is remembered by its digest and not sent again.
 */
export async function upload(wrangler: Wrangler, { id, files }: Pack, out: string, say: Say): Promise<void> {
  const manifest = files.at(-1) as PackFile;
  const there = await wrangler(['r2', 'object', 'get', `${BUCKET}/${id}/${MANIFEST}`, '--pipe', '--remote']).catch(() => '');
  if (there.trim() === manifest.digest.trim()) return say(`  the pack ${id} is in the bucket already: its manifest has these digests`);
  const record = join(out, UPLOADED);
  const done = new Map(existsSync(record) ? Object.entries(JSON.parse(readFileSync(record, 'utf8')) as Record<string, string>) : []);
  for (const [i, f] of files.entries()) {
    const name = `${BUCKET}/${id}/${f.name}`;
    if (done.get(name) === f.digest && f !== manifest) continue; // it was seen not to be there
    say(`  ${i + 1} of ${files.length}: ${id}/${f.name}, ${size(f.bytes)}`);
    await wrangler(['r2', 'object', 'put', name, '--file', f.path, '--remote']);
    done.set(name, f.digest);
    mkdirSync(dirname(record), { recursive: true });
    writeFileSync(record, JSON.stringify(Object.fromEntries(done)));
  }
}
