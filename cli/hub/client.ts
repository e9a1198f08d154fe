/**
 * The hub's protocol, by its own client library (@huggingface/hub): listing, revision and licence of a repository, ranges
 * of its files. What is added here: answers that say no become PullErrors that say what to do, and 429 and 503 are waited
 * out as their Retry-After asks.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { downloadFile, listFiles, modelInfo } from '@huggingface/hub';
import { PullError } from './error.ts';

export interface HubOptions {
  /** `HF_ENDPOINT`: the hub or a mirror of it. */
  endpoint?: string;
  /** `HF_TOKEN`, sent to the endpoint alone. */
  token?: string;
  signal?: AbortSignal;
  /** Told of waits. */
  say?: (line: string) => void;
}

export interface HubFile {
  path: string;
  bytes: number;
  /** SHA-256 of the content when it is kept in the hub's large file storage. */
  sha256?: string;
  /** Git's name of the content (SHA-1 over a header and the bytes) otherwise. */
  gitOid?: string;
}

export interface Repository {
  /** The commit that the revision stands for. */
  commit: string;
  licence: string;
  gated: boolean;
  files: HubFile[];
}

const MOST_FILES = 2_000; // of a repository that is looked at
const MOST_WAITS = 5;
const LONGEST_WAIT_S = 120;

export class Hub {
  readonly endpoint: string;
  readonly #o: HubOptions;

  /** Throws PullError when the endpoint is no HTTP address, or a token would go over an open wire. */
  constructor(o: HubOptions = {}) {
    this.#o = o;
    const text = o.endpoint || 'https://huggingface.co';
    if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
      throw new PullError(`HF_ENDPOINT is "${text}", must be an http(s) address`);
    const { protocol, hostname } = new URL(text);
    if (o.token && protocol === 'http:' && !/^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/.test(hostname)) {
      throw new PullError(`HF_ENDPOINT=${text} is not encrypted, and HF_TOKEN would be sent over it: use https, or leave HF_TOKEN out`);
    }
    if (o.token && !o.token.startsWith('hf_')) throw new PullError('HF_TOKEN is no token of the hub: those begin with hf_');
    this.endpoint = text.replace(/\/+$/, '');
  }

  /** What the repository holds at a revision. Rejects with PullError. */
  async repository(repo: string, revision: string): Promise<Repository> {
    const fetch = this.#fetch(repo, revision);
    const info = await modelInfo({ name: repo, revision, additionalFields: ['sha', 'cardData', 'tags'], ...this.#common(fetch) });
    const files: HubFile[] = [];
    for await (const f of listFiles({ repo, revision: info.sha ?? revision, recursive: true, ...this.#common(fetch) })) {
      if (f.type !== 'file') continue;
      if (files.length >= MOST_FILES)
        throw new PullError(`${repo} holds more than ${MOST_FILES} files; name the one you want: hf:${repo}:FILE`);
      if (!Number.isSafeInteger(f.size) || f.size < 0) throw new PullError(`the hub says that ${f.path} has ${f.size} bytes`);
      files.push({ path: f.path, bytes: f.size, ...(f.lfs ? { sha256: f.lfs.oid } : { gitOid: f.oid }) });
    }
    const card = info.cardData as { license?: string; license_name?: string } | undefined;
    const tag = info.tags?.find((t) => t.startsWith('license:'))?.slice(8);
    return {
      commit: info.sha ?? revision,
      licence: card?.license_name ?? card?.license ?? tag ?? 'not stated',
      gated: Boolean(info.gated),
      files,
    };
  }

  /** The bytes [from, to) of a file as a stream. `commit` pins the content. Rejects with PullError. */
  async range(repo: string, commit: string, file: HubFile, from: number, to: number): Promise<ReadableStream<Uint8Array>> {
    // xet: false asks for plain HTTP ranges, which can be resumed and need no second protocol
    const url = `${this.endpoint}/${repo}/resolve/${commit}/${file.path}`;
    const blob = await downloadFile({
      repo,
      path: file.path,
      revision: commit,
      xet: false,
      downloadInfo: { size: file.bytes, etag: '', url },
      ...this.#common(this.#fetch(repo, commit, file.path)),
    });
    if (!blob) throw new PullError(`${repo} has no file ${file.path}`);
    return blob.slice(from, to).stream() as ReadableStream<Uint8Array>;
  }

  #common(fetch: typeof globalThis.fetch) {
    return { hubUrl: this.endpoint, fetch, ...(this.#o.token && { accessToken: this.#o.token }) };
  }

  /** `fetch` that waits when asked to and whose refusals say what to do. */
  #fetch(repo: string, revision: string, path?: string): typeof globalThis.fetch {
    return async (input, init) => {
      for (let waits = 0; ; waits++) {
        const response = await fetch(input, { ...init, signal: this.#o.signal }).catch((cause: unknown) => {
          this.#o.signal?.throwIfAborted();
          throw new PullError(`${this.endpoint} cannot be reached: ${reason(cause)}. Is there a network? HF_ENDPOINT names a mirror.`, {
            cause,
          });
        });
        if (response.ok) {
          const asked = new Headers(init?.headers).get('range');
          if (asked && response.status !== 206) {
            await response.body?.cancel();
            throw new PullError(`${new URL(response.url).host} does not send ranges of files, so that nothing could be resumed`);
          }
          return response;
        }
        await response.body?.cancel();
        const wait = retryAfter(response);
        if (wait === undefined || waits >= MOST_WAITS) throw refusal(response, repo, revision, path);
        this.#o.say?.(`the hub asks to wait ${wait} s (${response.status})`);
        await pause(wait * 1000, undefined, { signal: this.#o.signal });
      }
    };
  }
}

/** Seconds to wait before asking again; undefined when asking again is of no use. */
function retryAfter(response: Response): number | undefined {
  if (response.status !== 429 && response.status !== 503) return undefined;
  const text = response.headers.get('retry-after') ?? '';
  const s = /^\d+$/.test(text) ? Number(text) : Math.ceil((Date.parse(text) - Date.now()) / 1000);
  return Math.min(LONGEST_WAIT_S, Number.isFinite(s) ? Math.max(1, s) : 5);
}

function refusal(response: Response, repo: string, revision: string, path?: string): PullError {
  const { status } = response;
  const code = response.headers.get('x-error-code');
  const page = `https://huggingface.co/${repo}`;
  const say = (message: string) => new PullError(message, { status });
  if (code === 'GatedRepo' || status === 403) {
    return say(
      `${repo} is gated: accept its licence at ${page}, then set HF_TOKEN to a token of that account (${page.replace(repo, 'settings/tokens')})`,
    );
  }
  if (code === 'RevisionNotFound') return say(`${repo} has no revision ${revision}`);
  if (code === 'EntryNotFound') return say(`${repo} has no file ${path ?? ''} at ${revision}`);
  if (code === 'RepoNotFound' || status === 401 || status === 404) {
    return say(`the hub shows no repository ${repo}: check its spelling; a private one needs HF_TOKEN`);
  }
  if (status === 429) return say('the hub still refuses after several waits (429): try later, or set HF_TOKEN, which has a higher limit');
  return say(`the hub answered ${status} for ${repo}; try again later`);
}

function reason(error: unknown): string {
  const cause = (error as { cause?: { message?: string } }).cause;
  return cause?.message || (error instanceof Error ? error.message : String(error));
}
