/** LoRA adapters of the models on this machine: made ready for a base's isolates in a folder of its own, from which they are served beside its pack. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { lowRank } from '../models/lora.ts';
import { folderPack, openAdapter } from '../models/node/files.ts';
import { ADAPTERS, type AdapterEntry, adapterFile, isAdapterName, writeAdapter, writeIndex } from '../models/pack/adapter.ts';
import { openPack } from '../models/pack/load.ts';
import type { LocalPack } from './packs.ts';

/** Those of one base. The index is written anew with each change, and whole at any time. */
export class LocalAdapters {
  readonly folder: string;
  readonly #pack: LocalPack;
  readonly #entries = new Map<string, AdapterEntry>();

  /** None yet. */
  constructor(pack: LocalPack, folder: string) {
    this.#pack = pack;
    this.folder = folder;
    mkdirSync(join(folder, 'adapters'), { recursive: true });
    this.#write();
  }

  get entries(): readonly AdapterEntry[] {
    return [...this.#entries.values()];
  }

  /**
   * Makes an adapter ready under a name, in place of one that had it: PEFT's folder or a GGUF file. Rejects with what is wrong: the name, the
   * file, or that it is another model's.
   */
  async add(name: string, path: string): Promise<AdapterEntry> {
    if (!isAdapterName(name)) throw new Error(`"${name}" cannot name an adapter: letters, digits, ".", "_" and "-", 64 at the most`);
    const from = resolve(path);
    if (!existsSync(from)) throw new Error(`${name}: there is no ${path}. Give a folder of PEFT or a GGUF adapter.`);
    const { manifest } = await openPack(folderPack(this.#pack.folder));
    const adapter = await openAdapter(from);
    try {
      const { id, bytes } = await writeAdapter(lowRank(manifest.config, this.#pack.id, adapter));
      const to = join(this.folder, adapterFile(id));
      if (!existsSync(to)) {
        writeFileSync(`${to}.part`, bytes);
        renameSync(`${to}.part`, to);
      }
      const entry = { name, id, bytes: bytes.length, created: Math.floor(statSync(from).mtimeMs / 1000) };
      this.#entries.set(name, entry);
      this.#write();
      return entry;
    } finally {
      await adapter.close();
    }
  }

  /** Takes a name away; false when it was none. Requests that have it go on. */
  remove(name: string): boolean {
    const had = this.#entries.delete(name);
    if (had) this.#write();
    return had;
  }

  #write(): void {
    const path = join(this.folder, ADAPTERS);
    writeFileSync(`${path}.part`, writeIndex(this.entries));
    renameSync(`${path}.part`, path);
    const used = new Set(this.entries.map(({ id }) => basename(adapterFile(id))));
    for (const file of readdirSync(join(this.folder, 'adapters'))) {
      if (file.endsWith('.lora') && !used.has(file)) rmSync(join(this.folder, 'adapters', file));
    }
  }
}

/** What this server was told of adapters: at its start, and while it runs. */
export class AdapterBook {
  /** By the base's name, then by the adapter's: the path. */
  readonly #wanted = new Map<string, Map<string, string>>();
  /** Of the bases that are loaded. */
  readonly #open = new Map<string, LocalAdapters>();

  readonly #folder: string;

  /** `pairs`: the paths by `name`, of the first model, or `base:name`. `folder`: this server's alone, since what nobody names there goes. */
  constructor(pairs: ReadonlyMap<string, string>, first: string, folder: string) {
    this.#folder = folder;
    for (const [name, path] of pairs) {
      const colon = name.lastIndexOf(':');
      this.#of(colon < 0 ? first : name.slice(0, colon)).set(name.slice(colon + 1), path);
    }
  }

  /** Makes a base's adapters ready to be served beside its pack. Rejects with what is wrong with one of them. */
  async open(pack: LocalPack): Promise<LocalAdapters> {
    const base = createHash('sha256').update(pack.folder).digest('hex').slice(0, 16); // whatever it is called
    const here = new LocalAdapters(pack, join(this.#folder, base));
    for (const [name, path] of this.#of(pack.id)) await here.add(name, path);
    this.#open.set(pack.id, here);
    return here;
  }

  names(model: string): string[] {
    return [...this.#of(model).keys()];
  }

  /** Rejects with what is wrong; of a base that is not loaded that is told when it is. */
  async load(model: string, name: string, path: string): Promise<void> {
    await this.#open.get(model)?.add(name, path);
    this.#of(model).set(name, path);
  }

  /** False when there was none of that name. */
  unload(model: string, name: string): boolean {
    this.#open.get(model)?.remove(name);
    return this.#of(model).delete(name);
  }

  #of(model: string): Map<string, string> {
    const names = this.#wanted.get(model) ?? new Map<string, string>();
    this.#wanted.set(model, names);
    return names;
  }
}

/** ADAPTERS_MB as it is set, or what all adapters take together, in whole MiB. */
export const roomFor = (set: string | undefined, { entries }: LocalAdapters): string =>
  set ?? String(Math.ceil(entries.reduce((n, { bytes }) => n + bytes, 0) / (1 << 20)));
