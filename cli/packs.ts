/** Which model is served locally: a pack folder as it is, anything else converted once and kept: in `.cache/packs` of a clone, in the user's cache of an installed package. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { WEIGHTS_VERSION } from '../engine/formats.ts';
import { folderSink, nodeHasher, openModel } from '../models/node/files.ts';
import { MANIFEST } from '../models/pack/manifest.ts';
import { costs, writePack } from '../models/pack/write.ts';
import { CONVERSION, formatNamed } from '../models/quantize/convert.ts';
import { INSTALLED, ROOT } from './build.ts';
import { storeFolder } from './hub/store.ts';

export interface LocalPack {
  /** The model's name in the API. */
  id: string;
  folder: string;
  /** The folder of its adapters, served beside it. */
  adapters?: string;
}

/** Beside a converted pack: what rounding cost, to be said at every start. */
const COSTS = 'rounding.json';
const SHIPPED = join(ROOT, 'models/pebble');

/** Where a model is. Throws with what to do when it is not there. */
export function modelPath(model: string | undefined): string {
  const path = model ? resolve(model) : SHIPPED;
  if (existsSync(path)) return path;
  throw new Error(`MODEL=${model}: there is no such file or folder. Give a pack, a GGUF file or a Hugging Face folder.`);
}

/** `name`: what the model is called in the API, when not as its file. `apart`: a conversion runs in a process of its own, so that this one goes on answering. Rejects with what to do when there is no such model. */
export async function localPack(
  model: string | undefined,
  say: (line: string) => void,
  format?: string,
  name?: string,
  apart = false,
): Promise<LocalPack> {
  const path = modelPath(model);
  const id = name ?? basename(path).replace(/\.gguf$/i, '');
  if (existsSync(join(path, MANIFEST))) return { id, folder: path };
  const key = createHash('sha256')
    .update([path, fingerprint(path), format ?? 'auto', WEIGHTS_VERSION, CONVERSION].join('\0'))
    .digest('hex')
    .slice(0, 16);
  const folder = join(INSTALLED ? storeFolder() : join(ROOT, '.cache'), 'packs', key);
  if (!existsSync(join(folder, MANIFEST))) {
    say(`Packing ${basename(path)} …`);
    await (apart ? packApart : packInto)(path, folder, format ?? 'auto');
  }
  const lost = existsSync(join(folder, COSTS)) ? (JSON.parse(readFileSync(join(folder, COSTS), 'utf8')) as string[]) : [];
  if (lost.length > 0) say(`${basename(path)} is rounded: ${lost.join('; ')}`);
  return { id, folder };
}

/** Converts a model into a folder, which is there when all of it is: another process may do the same meanwhile. Rejects with what is wrong with it. */
export async function packInto(path: string, folder: string, format: string): Promise<void> {
  const model = await openModel(path);
  const own = `${folder}.${process.pid}`;
  try {
    const { report } = await writePack(model, folderSink(own), { format: formatNamed('FORMAT', format), hasher: nodeHasher });
    writeFileSync(join(own, COSTS), JSON.stringify(costs(report)));
    if (!existsSync(join(folder, MANIFEST))) {
      rmSync(folder, { recursive: true, force: true }); // of one that was broken off
      renameSync(own, folder);
    }
  } finally {
    rmSync(own, { recursive: true, force: true });
    await model.close();
  }
}

/** The same in a process of this command line. */
async function packApart(path: string, folder: string, format: string): Promise<void> {
  const own = INSTALLED ? [join(ROOT, 'bin/index.js')] : ['--import', import.meta.resolve('tsx'), join(ROOT, 'cli/index.ts')];
  const child = spawn(process.execPath, [...own, 'pack-into', path, folder, format], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (d) => {
    said += d;
  });
  const code = await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
  if (code !== 0) throw new Error(said.trim().replace(/^turnstone: /, '') || `packing ended with ${code}`);
}

/** Sizes and times of a model's files. */
function fingerprint(path: string): string {
  const stat = statSync(path);
  if (!stat.isDirectory()) return `${stat.size} ${stat.mtimeMs}`;
  return readdirSync(path)
    .map((f) => `${f} ${statSync(join(path, f)).size} ${statSync(join(path, f)).mtimeMs}`)
    .join('\n');
}

/** What uploading needs of an R2 bucket. */
interface Bucket {
  put(key: string, value: ArrayBuffer | string): Promise<unknown>;
}

/** Puts a pack under `<id>/`; the manifest goes last, so that a broken upload is no pack. */
export async function uploadPack(bucket: Bucket, pack: LocalPack): Promise<void> {
  const files = readdirSync(pack.folder, { withFileTypes: true }).filter((f) => f.isFile() && f.name !== COSTS);
  const names = files.map((f) => f.name).sort((a, b) => Number(a === MANIFEST) - Number(b === MANIFEST));
  for (const name of names) {
    const bytes = await readFile(join(pack.folder, name));
    await bucket.put(`${pack.id}/${name}`, bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer);
  }
}

/** Names a pack's content: SHA-256 of its manifest, which holds the hashes of its files. */
export const packStamp = (pack: LocalPack): string =>
  createHash('sha256')
    .update(readFileSync(join(pack.folder, MANIFEST)))
    .digest('hex');
