/** `turnstone pull`: a model by name, from the hub into the store. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { alive } from '../lock.ts';
import { size } from '../table.ts';
import { type Choice, choose } from './choose.ts';
import { Hub, type HubFile, type HubOptions } from './client.ts';
import { type DownloadOptions, download } from './download.ts';
import { PullError } from './error.ts';
import { parseName } from './names.ts';
import { ModelStore, type StoredModel } from './store.ts';

export interface PullOptions extends HubOptions, DownloadOptions {
  store?: ModelStore;
  /** What an isolate may hold, bytes: a quantization that fits is chosen (128 MiB). */
  memoryBytes?: number;
}

/** Licences that let everybody do nearly everything; others are said before anything is fetched. */
const OPEN = /^(apache-2\.0|mit|bsd-.*|cc0-1\.0|cc-by-4\.0|unlicense|isc)$/i;

/** Brings a model and resolves with its place in the store. What is there already is not fetched again. Rejects with PullError. */
export async function pull(text: string, o: PullOptions = {}): Promise<StoredModel> {
  const { say = () => {} } = o;
  const store = o.store ?? new ModelStore();
  const wanted = parseName(text);
  const hub = new Hub(o);
  const repository = await hub.repository(wanted.repo, wanted.revision);
  const choice: Choice = choose(wanted.repo, repository.files, o.memoryBytes ?? 128 << 20, wanted.pick);
  const bytes = choice.files.reduce((n, f) => n + f.bytes, 0);
  say(`${wanted.repo}, ${choice.main}, ${size(bytes)}${choice.why ? ` (${choice.why})` : ''}`);
  say(`licence: ${repository.licence}${OPEN.test(repository.licence) ? '' : `; its terms: https://huggingface.co/${wanted.repo}`}`);
  const promised = wanted.entry?.sha256;
  if (promised && !choice.files.some((f) => f.sha256 === promised)) {
    throw new PullError(
      `${choice.main} is not the file that the catalogue means (SHA-256 ${promised.slice(0, 16)}…): it was changed at the hub. hf:${wanted.repo}:${wanted.pick} takes it as it is now.`,
    );
  }
  let before = 0;
  for (const f of choice.files) {
    await bring(hub, wanted.repo, repository.commit, f, store, { ...o, progress: (n) => o.progress?.(before + n, bytes) });
    before += f.bytes;
    o.progress?.(before, bytes);
  }
  const model: StoredModel = {
    name: wanted.name,
    repo: wanted.repo,
    commit: repository.commit,
    licence: repository.licence,
    main: choice.files.length === 1 ? basename(choice.files[0].path) : '',
    files: choice.files.map((f) => ({ path: f.path, blob: blobOf(f), bytes: f.bytes })),
    pulled: new Date().toISOString(),
  };
  await store.put(model);
  return model;
}

/** Name of a file's content in the store. Throws PullError for one that the hub gives no digest of. */
function blobOf(f: HubFile): string {
  const digest = f.sha256 ?? f.gitOid;
  if (!digest || !/^[0-9a-f]{40,64}$/.test(digest)) throw new PullError(`the hub gives no digest of ${f.path}`);
  return `${f.sha256 ? 'sha256' : 'git'}-${digest}`;
}

async function bring(hub: Hub, repo: string, commit: string, f: HubFile, store: ModelStore, o: DownloadOptions): Promise<void> {
  const path = store.blobPath(blobOf(f));
  if (existsSync(path)) return;
  await mkdir(dirname(path), { recursive: true });
  const unlock = await lock(`${path}.lock`, f);
  try {
    if (!existsSync(path)) await download(hub, repo, commit, f, path, o);
  } finally {
    await unlock();
  }
}

/** One process at a time brings a file; the lock of one that has ended is taken over. */
async function lock(path: string, f: HubFile): Promise<() => Promise<void>> {
  for (;;) {
    try {
      await writeFile(path, String(process.pid), { flag: 'wx' });
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const pid = Number(existsSync(path) ? readFileSync(path, 'utf8') : 0);
      if (pid > 0 && alive(pid)) throw new PullError(`process ${pid} is fetching ${f.path} already; wait for it, or end it`);
      await rm(path, { force: true });
    }
  }
}
