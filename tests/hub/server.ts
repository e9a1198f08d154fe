/** A server that speaks the hub's protocol over files of this machine: revisions, trees, redirects to another host, ranges. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface RepositoryIn {
  licence?: string;
  /** Needs a token. */
  gated?: boolean;
  files: Record<string, Uint8Array>;
}

export interface Faults {
  /** Each answer with content ends after that many bytes, so many times. */
  breakAfter?: { bytes: number; times: number };
  /** Sends other bytes than the digest names. */
  damaged?: boolean;
  /** Answers 429 with this Retry-After (seconds), so many times. */
  busy?: { retryAfter: number; times: number };
  /** Milliseconds before each answer with content. */
  slow?: number;
}

export interface HubServer {
  url: string;
  faults: Faults;
  /** `GET path` with its Range and authorization, in order. */
  log: { path: string; range?: string; authorization?: string }[];
  close(): Promise<void>;
}

const COMMIT = 'c0ffee'.padEnd(40, '0');
export const TOKEN = 'hf_test';

export async function hubServer(repositories: Record<string, RepositoryIn>): Promise<HubServer> {
  const state: Pick<HubServer, 'faults' | 'log'> = { faults: {}, log: [] };
  const cdn = createServer((req, res) => content(req, res));
  const hub = createServer((req, res) => api(req, res));
  const listen = (s: typeof hub) =>
    new Promise<string>((resolve) => {
      s.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(s.address() as AddressInfo).port}`));
    });
  const [url, cdnUrl] = await Promise.all([listen(hub), listen(cdn)]);

  function api(req: IncomingMessage, res: ServerResponse): unknown {
    const path = decodeURIComponent(new URL(req.url!, url).pathname);
    note(req, path);
    if (state.faults.busy && state.faults.busy.times-- > 0) {
      res.writeHead(429, { 'retry-after': String(state.faults.busy.retryAfter) }).end();
      return;
    }
    const [, kind, repo, revision, file] =
      /^\/api\/models\/([\w.-]+\/[\w.-]+)\/(revision|tree)\/([^/]+)$/
        .exec(path)
        ?.flatMap((x, i, all) => (i === 0 ? [x, all[2], all[1], all[3]] : [])) ??
      /^\/([\w.-]+\/[\w.-]+)\/resolve\/([^/]+)\/(.+)$/
        .exec(path)
        ?.flatMap((x, i, all) => (i === 0 ? [x, 'resolve', all[1], all[2], all[3]] : [])) ??
      [];
    const r = repositories[repo];
    if (!r) {
      refuse(res, 401, 'RepoNotFound');
      return;
    }
    if (revision !== 'main' && revision !== COMMIT) return refuse(res, 404, 'RevisionNotFound');
    if (kind === 'revision') {
      return json(res, {
        ...{ _id: '1', id: repo, sha: COMMIT, gated: r.gated ? 'manual' : false, private: false, downloads: 1, likes: 1 },
        ...{ lastModified: '2026-01-01T00:00:00Z', cardData: { license: r.licence ?? 'apache-2.0' }, tags: [] },
      });
    }
    if (kind === 'tree') {
      return json(
        res,
        Object.entries(r.files).map(([name, bytes]) => ({
          ...{ type: 'file', path: name, size: bytes.length, oid: gitOid(bytes) },
          ...(large(name) && { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } }),
        })),
      );
    }
    if (r.gated && req.headers.authorization !== `Bearer ${TOKEN}`) return refuse(res, 401, 'GatedRepo');
    if (!r.files[file]) return refuse(res, 404, 'EntryNotFound');
    // as the hub does: large files come from another host, which must not see the token
    if (!large(file)) return send(req, res, r.files[file]);
    return res.writeHead(302, { location: `${cdnUrl}/${repo}/${file}`, 'x-linked-etag': `"${sha256(r.files[file])}"` }).end();
  }

  function content(req: IncomingMessage, res: ServerResponse): unknown {
    const path = decodeURIComponent(new URL(req.url!, cdnUrl).pathname);
    note(req, `cdn:${path}`);
    const [, repo, file] = /^\/([\w.-]+\/[\w.-]+)\/(.+)$/.exec(path) ?? [];
    const bytes = repositories[repo]?.files[file];
    if (!bytes) return refuse(res, 404, 'EntryNotFound');
    return setTimeout(() => send(req, res, bytes), state.faults.slow ?? 0);
  }

  function send(req: IncomingMessage, res: ServerResponse, whole: Uint8Array): void {
    const [, from = '0', to = String(whole.length - 1)] = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range ?? '') ?? [];
    let bytes = whole.slice(Number(from), Number(to) + 1);
    if (state.faults.damaged && bytes.length > 0) bytes = bytes.map((b, i) => (i === 0 ? b ^ 1 : b));
    res.writeHead(req.headers.range ? 206 : 200, {
      'content-length': bytes.length,
      'accept-ranges': 'bytes',
      ...(req.headers.range && { 'content-range': `bytes ${from}-${to}/${whole.length}` }),
    });
    const cut = state.faults.breakAfter;
    if (cut && cut.times > 0 && bytes.length > cut.bytes) {
      cut.times--;
      res.write(bytes.subarray(0, cut.bytes), () => setTimeout(() => res.destroy(), 20));
    } else res.end(bytes);
  }

  function note(req: IncomingMessage, path: string): void {
    state.log.push({ path, range: req.headers.range, authorization: req.headers.authorization });
  }

  return Object.assign(state, {
    url,
    close: async () => {
      for (const s of [hub, cdn]) {
        s.closeAllConnections();
        await new Promise((resolve) => s.close(resolve));
      }
    },
  });
}

const large = (name: string): boolean => /\.(gguf|safetensors)$/.test(name);
/** A digest of bytes that never change, computed once. */
const once = (digest: (bytes: Uint8Array) => string) => {
  const known = new WeakMap<Uint8Array, string>();
  return (bytes: Uint8Array): string => {
    const text = known.get(bytes) ?? digest(bytes);
    known.set(bytes, text);
    return text;
  };
};
const sha256 = once((bytes) => createHash('sha256').update(bytes).digest('hex'));
const gitOid = once((bytes) => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex'));

function refuse(res: ServerResponse, status: number, code: string): unknown {
  return res.writeHead(status, { 'x-error-code': code, 'content-type': 'application/json' }).end(JSON.stringify({ error: code }));
}

function json(res: ServerResponse, value: unknown): unknown {
  return res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}
