/** A pack kept in the origin's private file system: fetched once, resumed where it stopped, removed on request. */
import { MANIFEST, type Manifest } from '../../../models/pack/manifest.ts';
import { chunks, type PackSource, readWhole } from '../../../models/pack/source.ts';

const FOLDER = 'turnstone-packs';
const MAX_MANIFEST = 16 << 20;

type Directory = FileSystemDirectoryHandle;

/** The folder of one model, or null where the browser keeps no files (some private windows). */
export async function packFolder(id: string): Promise<Directory | null> {
  try {
    const root = await navigator.storage.getDirectory();
    const packs = await root.getDirectoryHandle(FOLDER, { create: true });
    return await packs.getDirectoryHandle(encodeURIComponent(id), { create: true });
  } catch {
    return null;
  }
}

/** Removes all kept packs. */
export async function removePacks(): Promise<void> {
  const root = await navigator.storage.getDirectory();
  await root.removeEntry(FOLDER, { recursive: true }).catch(() => {});
}

async function sizeOf(folder: Directory, name: string): Promise<number> {
  return (await (await folder.getFileHandle(name, { create: true })).getFile()).size;
}

/** Writes a stream's bytes from `at` on, and drops what was behind them. */
async function append(
  folder: Directory,
  name: string,
  at: number,
  pieces: AsyncIterable<Uint8Array>,
  wrote: (n: number) => void,
): Promise<void> {
  const access = await (await folder.getFileHandle(name, { create: true })).createSyncAccessHandle();
  try {
    access.truncate(at);
    for await (const piece of pieces) {
      access.write(piece as Uint8Array<ArrayBuffer>, { at });
      at += piece.length;
      wrote(piece.length);
    }
    access.flush();
  } finally {
    access.close(); // what came is kept: the next try goes on from there
  }
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/**
 * The pack's manifest: the server's when it answers, and kept then; else the kept one. Rejects with the server's error
 * when there is neither.
 */
export async function keptManifest(remote: PackSource, folder: Directory): Promise<Uint8Array> {
  try {
    const bytes = await readWhole(remote, MANIFEST, MAX_MANIFEST);
    await append(folder, MANIFEST, 0, one(bytes), () => {});
    return bytes;
  } catch (error) {
    const size = await sizeOf(folder, MANIFEST);
    if (size === 0) throw error;
    return new Uint8Array(await (await (await folder.getFileHandle(MANIFEST)).getFile()).arrayBuffer());
  }
}

/** Fetches what is missing of the pack's files. Files are named by the SHA-256 they must have; the loader checks it. */
export async function fetchPack(
  remote: PackSource,
  manifest: Manifest,
  folder: Directory,
  onProgress: (loaded: number, total: number) => void,
): Promise<void> {
  const files = [manifest.tokenizer, ...manifest.shards];
  const total = files.reduce((n, f) => n + f.bytes, 0);
  let loaded = 0;
  for (const file of files) {
    let have = await sizeOf(folder, file.sha256);
    if (have > file.bytes) have = 0;
    loaded += have;
    onProgress(loaded, total);
    if (have === file.bytes) continue;
    await append(folder, file.sha256, have, chunks(await remote.open(file.name, have, file.bytes - have)), (n) => {
      loaded += n;
      onProgress(loaded, total);
    });
  }
}

/** The kept pack as a source. */
export function keptPack(manifest: Manifest, bytes: Uint8Array, folder: Directory): PackSource {
  const names = new Map([manifest.tokenizer, ...manifest.shards].map((f) => [f.name, f.sha256]));
  return {
    async open(name, offset = 0, length) {
      const blob =
        name === MANIFEST
          ? new Blob([bytes as Uint8Array<ArrayBuffer>])
          : await (await folder.getFileHandle(names.get(name) ?? name)).getFile();
      return blob.slice(offset, length === undefined ? undefined : offset + length).stream();
    },
  };
}

/** Drops the kept bytes of all files, so that they are fetched again; after a damaged one was met. */
export async function dropPack(manifest: Manifest, folder: Directory): Promise<void> {
  for (const file of [manifest.tokenizer, ...manifest.shards]) await folder.removeEntry(file.sha256).catch(() => {});
}
