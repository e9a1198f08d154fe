/**
 * Models on this machine, under one folder: `blobs/<digest>` holds each file once, `models/<name>/` holds a model's files
 * under their own names as links to blobs, and `models/<name>/.model.json` says what it is. A model is there when that file is.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';

export interface StoredFile {
  path: string;
  /** Name in `blobs`. */
  blob: string;
  bytes: number;
}

export interface StoredModel {
  name: string;
  repo: string;
  commit: string;
  licence: string;
  /** The GGUF file's name, or '' for a folder of safetensors. */
  main: string;
  files: StoredFile[];
  pulled: string;
}

const RECORD = '.model.json';

/** `TURNSTONE_CACHE`, else the user's cache folder. */
export const storeFolder = (env = process.env): string =>
  env.TURNSTONE_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'turnstone');

export class ModelStore {
  readonly folder: string;

  constructor(folder = storeFolder()) {
    this.folder = folder;
  }

  blobPath(blob: string): string {
    return join(this.folder, 'blobs', blob);
  }

  /** What a server is given: the GGUF file, or the folder. */
  pathOf(m: StoredModel): string {
    return join(this.#modelFolder(m.name), m.main);
  }

  /** Models that are whole, by name. */
  list(): StoredModel[] {
    const models = join(this.folder, 'models');
    if (!existsSync(models)) return [];
    return readdirSync(models)
      .map((name) => this.#read(join(models, name)))
      .filter((m): m is StoredModel => m !== undefined)
      .sort((a, b) => a.name.localeCompare(b.name));
  }

  /** The model of that name when all its files are there. */
  get(name: string): StoredModel | undefined {
    return this.#read(this.#modelFolder(name));
  }

  /** Writes a model whose blobs are there; it appears at once, or not at all. */
  async put(m: StoredModel): Promise<void> {
    const folder = this.#modelFolder(m.name);
    const fresh = `${folder}.${process.pid}.new`;
    await rm(fresh, { recursive: true, force: true });
    for (const f of m.files) {
      const at = join(fresh, m.main ? m.main : f.path);
      await mkdir(dirname(at), { recursive: true });
      const finalPlace = join(folder, relative(fresh, at));
      await symlink(relative(dirname(finalPlace), this.blobPath(f.blob)), at);
    }
    await writeFile(join(fresh, RECORD), `${JSON.stringify(m, null, 2)}\n`);
    await rm(folder, { recursive: true, force: true });
    await rename(fresh, folder);
  }

  /** Takes a model out, and the blobs that no other has. The bytes that became free, or undefined when there is no such model. */
  async remove(name: string): Promise<number | undefined> {
    const m = this.get(name);
    if (!m) return undefined;
    await rm(this.#modelFolder(name), { recursive: true, force: true });
    const used = new Set(this.list().flatMap((x) => x.files.map((f) => f.blob)));
    let freed = 0;
    for (const f of m.files) {
      if (used.has(f.blob) || !existsSync(this.blobPath(f.blob))) continue;
      await rm(this.blobPath(f.blob));
      freed += f.bytes;
    }
    return freed;
  }

  /** Bytes of downloads that were broken off. */
  unfinished(): { blob: string; bytes: number }[] {
    const blobs = join(this.folder, 'blobs');
    if (!existsSync(blobs)) return [];
    return readdirSync(blobs)
      .filter((f) => f.endsWith('.part'))
      .map((f) => ({ blob: f.slice(0, -5), bytes: statSync(join(blobs, f)).blocks * 512 }));
  }

  async removeUnfinished(): Promise<number> {
    const parts = this.unfinished();
    for (const { blob } of parts)
      for (const end of ['.part', '.ranges', '.lock']) await rm(`${this.blobPath(blob)}${end}`, { force: true });
    for (const f of await readdir(join(this.folder, 'models')).catch(() => [])) {
      if (f.endsWith('.new')) await rm(join(this.folder, 'models', f), { recursive: true, force: true });
    }
    return parts.reduce((n, p) => n + p.bytes, 0);
  }

  #modelFolder(name: string): string {
    return join(this.folder, 'models', encodeURIComponent(name).replace(/\./g, '%2E'));
  }

  #read(folder: string): StoredModel | undefined {
    try {
      const m = JSON.parse(readFileSync(join(folder, RECORD), 'utf8')) as StoredModel;
      return m.files.every((f) => existsSync(this.blobPath(f.blob))) ? m : undefined;
    } catch {
      return undefined; // not there, or not whole
    }
  }
}
