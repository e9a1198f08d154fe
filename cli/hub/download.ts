/** One file of the hub to one file here: in ranges, over several connections, resumed where it broke off, and hashed before it counts. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { size } from '../table.ts';
import type { Hub, HubFile } from './client.ts';
import { PullError } from './error.ts';

const RANGE = 8 << 20; // bytes: what a break loses at most, a connection
const CONNECTIONS = 4;
const MOST_BREAKS = 6; // of one range, one after the other
const SPARE = 64 << 20; // bytes of the disk that are left alone

export interface DownloadOptions {
  signal?: AbortSignal;
  /** Bytes that are here, of all; also those of an earlier try. */
  progress?: (bytes: number, of: number) => void;
  say?: (line: string) => void;
  /** Milliseconds before a broken range is asked for again, doubled each time (500). */
  pauseMs?: number;
}

/**
 * Brings a file to `path`. What is there of an earlier try (`path.part`, `path.ranges`) is taken up. Rejects with PullError;
 * then `path` does not exist, and a part that can be resumed stays unless the disk is full or the content was wrong.
 */
export async function download(
  hub: Hub,
  repo: string,
  commit: string,
  file: HubFile,
  path: string,
  o: DownloadOptions = {},
): Promise<void> {
  const part = `${path}.part`;
  const ranges = new Ranges(`${path}.ranges`, file);
  const known = await ranges.load(part);
  await room(dirname(path), file.bytes - ranges.bytes);
  const handle = await open(part, known ? 'r+' : 'w');
  try {
    const todo = ranges.missing();
    o.progress?.(ranges.bytes, file.bytes);
    const worker = async () => {
      for (let i = todo.shift(); i !== undefined; i = todo.shift()) {
        await fetchRange(hub, repo, commit, file, ranges, i, handle, o);
        await ranges.save();
      }
    };
    await settleAll(Array.from({ length: Math.min(CONNECTIONS, todo.length) }, worker), () => todo.splice(0));
  } catch (error) {
    await handle.close();
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') {
      await ranges.save();
      throw error;
    }
    await Promise.all([rm(part, { force: true }), ranges.clear()]);
    throw new PullError(`the disk is full: ${file.path} has ${size(file.bytes)}; nothing of it was kept`, { cause: error });
  }
  await handle.close();
  const problem = await wrong(part, file);
  if (problem) {
    await Promise.all([rm(part, { force: true }), ranges.clear()]);
    throw new PullError(`${file.path} ${problem}; what was brought was thrown away. Try again, or another source.`);
  }
  await rename(part, path);
  await ranges.clear();
}

/** Runs all to their end; the first fault calls `stop` and is thrown. */
async function settleAll(runs: Promise<void>[], stop: () => void): Promise<void> {
  let first: { error: unknown } | undefined;
  await Promise.all(
    runs.map((run) =>
      run.catch((error: unknown) => {
        first ??= { error };
        stop();
      }),
    ),
  );
  if (first) throw first.error;
}

/** Writes the rest of a range into its place, and asks again from where a connection broke. */
async function fetchRange(
  hub: Hub,
  repo: string,
  commit: string,
  file: HubFile,
  ranges: Ranges,
  i: number,
  handle: FileHandle,
  o: DownloadOptions,
): Promise<void> {
  for (let breaks = 0; ranges.next(i) < ranges.end(i); ) {
    const before = ranges.next(i);
    try {
      for await (const bytes of (await hub.range(repo, commit, file, before, ranges.end(i))) as AsyncIterable<Uint8Array>) {
        o.signal?.throwIfAborted();
        if (ranges.next(i) + bytes.length > ranges.end(i)) throw new PullError(`the hub sent more of ${file.path} than was asked for`);
        await handle.write(bytes, 0, bytes.length, ranges.next(i));
        ranges.advance(i, bytes.length);
        o.progress?.(ranges.bytes, file.bytes);
      }
      if (ranges.next(i) < ranges.end(i)) throw new Error('the connection ended early');
    } catch (error) {
      o.signal?.throwIfAborted();
      const refused = error instanceof PullError && error.status !== undefined && error.status < 500;
      if (ranges.next(i) > before) breaks = 0;
      if (refused || (error as NodeJS.ErrnoException).code === 'ENOSPC' || ++breaks >= MOST_BREAKS) {
        throw error instanceof Error ? error : new PullError(`${file.path}: ${error}`);
      }
      o.say?.(`the connection broke at ${size(ranges.bytes)} of ${size(file.bytes)}; going on from there`);
      await pause((o.pauseMs ?? 500) * 2 ** breaks, undefined, { signal: o.signal });
    }
  }
}

/** How much of each range of a file is here; kept beside the part. */
class Ranges {
  readonly #path: string;
  readonly #file: HubFile;
  #have: number[]; // bytes, from each range's beginning
  #saving: Promise<void> = Promise.resolve();

  constructor(path: string, file: HubFile) {
    this.#path = path;
    this.#file = file;
    this.#have = new Array<number>(Math.ceil(file.bytes / RANGE)).fill(0);
  }

  /** Bytes that are here. */
  get bytes(): number {
    return this.#have.reduce((n, x) => n + x, 0);
  }

  /** Offset in the file of the next byte of a range. */
  next(i: number): number {
    return i * RANGE + this.#have[i];
  }

  end(i: number): number {
    return Math.min(this.#file.bytes, (i + 1) * RANGE);
  }

  advance(i: number, bytes: number): void {
    this.#have[i] += bytes;
  }

  /** Ranges that are not whole. */
  missing(): number[] {
    return this.#have.map((_, i) => i).filter((i) => this.next(i) < this.end(i));
  }

  /** False: there is nothing to go on from, or it was of another content. */
  async load(part: string): Promise<boolean> {
    try {
      const { name, have } = JSON.parse(await readFile(this.#path, 'utf8')) as { name: string; have: number[] };
      if (name !== nameOf(this.#file) || have.length !== this.#have.length) return false;
      if (!have.every((n, i) => Number.isInteger(n) && n >= 0 && i * RANGE + n <= this.end(i))) return false;
      await (await open(part, 'r+')).close();
      this.#have = have;
      return true;
    } catch {
      return false; // damaged or not there: from the beginning
    }
  }

  /** One after the other, each whole or not at all. */
  save(): Promise<void> {
    this.#saving = this.#saving.then(async () => {
      await writeFile(`${this.#path}.new`, JSON.stringify({ name: nameOf(this.#file), have: this.#have }));
      await rename(`${this.#path}.new`, this.#path);
    });
    return this.#saving;
  }

  clear(): Promise<void> {
    return rm(this.#path, { force: true });
  }
}

/** Names a content: its digest, or what the hub gave instead. */
const nameOf = (f: HubFile): string => `${f.sha256 ?? f.gitOid} ${f.bytes}`;

/** Throws unless the folder's disk holds that many bytes more. */
async function room(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bytes + SPARE <= bavail * bsize) return;
  throw new PullError(
    `${folder} has ${size(bavail * bsize)} free, and ${size(bytes)} are to come: make room, or set TURNSTONE_CACHE to a folder elsewhere`,
  );
}

/** What is wrong with the content; undefined when it is what the hub says. */
async function wrong(path: string, file: HubFile): Promise<string | undefined> {
  const [hash, want]: [Hash, string | undefined] = file.sha256
    ? [createHash('sha256'), file.sha256]
    : [createHash('sha1').update(`blob ${file.bytes}\0`), file.gitOid];
  for await (const bytes of createReadStream(path, { end: Math.max(0, file.bytes - 1) })) hash.update(bytes);
  const got = hash.digest('hex');
  if (want !== undefined && got !== want) return `has the digest ${got}, must have ${want}`;
  return undefined;
}
