import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { choose, quantOf } from '../../cli/hub/choose.ts';
import { Hub } from '../../cli/hub/client.ts';
import { PullError } from '../../cli/hub/error.ts';
import { CATALOGUE, isModelName, parseName } from '../../cli/hub/names.ts';
import { type PullOptions, pull } from '../../cli/hub/pull.ts';
import { ModelStore } from '../../cli/hub/store.ts';
import { openModel } from '../../models/node/files.ts';
import { hfFolder, small, smallGguf } from '../models/small-model.ts';
import { type HubServer, hubServer, TOKEN } from './server.ts';

const MB = 2 ** 20;
const big = new Uint8Array(24 * MB).map((_, i) => (i * 2654435761) >>> 24);
const small16 = smallGguf();

let folder: string;
let store: ModelStore;
let server: HubServer;
let said: string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'turnstone-hub-'));
  store = new ModelStore(folder);
  said = [];
  server = await hubServer({
    'org/tiny-GGUF': {
      files: { 'README.md': new TextEncoder().encode('# tiny'), 'tiny-Q4_0.gguf': small16, 'tiny-Q8_0.gguf': small16.slice() },
    },
    'org/big-GGUF': { files: { 'big.Q4_1.gguf': big } },
    'org/folder': { files: Object.fromEntries([...hfFolder(small, 2)].map(([k, v]) => [k, v as Uint8Array])) },
    'org/gated-GGUF': { gated: true, licence: 'gemma', files: { 'g-Q4_0.gguf': small16 } },
  });
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

const get = (name: string, o: PullOptions = {}) => pull(name, { endpoint: server.url, store, pauseMs: 1, say: (l) => said.push(l), ...o });
const contents = () => (existsSync(join(folder, 'blobs')) ? readdirSync(join(folder, 'blobs')) : []);

describe('names', () => {
  it('read the catalogue and references, and refuse the rest', () => {
    expect(parseName('hf:a/b')).toEqual({ name: 'hf:a/b', repo: 'a/b', revision: 'main' });
    expect(parseName('hf:a/b@v1:Q4_0')).toMatchObject({ repo: 'a/b', revision: 'v1', pick: 'Q4_0' });
    expect(parseName('smollm2')).toMatchObject({ name: 'smollm2', entry: { licence: 'apache-2.0' } });
    for (const bad of ['nope', 'hf:a', 'hf:a/b/c', 'hf:../x', 'hf:a/b:../../etc/passwd', 'hf:a/b@..', 'hf:a b/c', '']) {
      expect(() => parseName(bad), bad).toThrow(/give one of smollm2/);
    }
    expect([isModelName('smollm2'), isModelName('hf:a/b'), isModelName('./smollm2'), isModelName('toString')]).toEqual([
      true,
      true,
      false,
      false,
    ]);
    for (const [name, e] of Object.entries(CATALOGUE)) expect(parseName(`hf:${e.repo}:${e.pick}`).pick, name).toBe(e.pick);
  });

  it('of quantizations are found in names of files', () => {
    const names = {
      'a-Q4_K_M.gguf': 'Q4_K_M',
      'A.Q4_1.gguf': 'Q4_1',
      'm-iq4_nl.gguf': 'IQ4_NL',
      'x/y-bf16.gguf': 'BF16',
      'gemma-3-270m.gguf': '',
    };
    for (const [path, quant] of Object.entries(names)) expect(quantOf(path)).toBe(quant);
  });
});

describe('what fits is chosen', () => {
  const file = (path: string, mb: number) => ({ path, bytes: mb * MB, sha256: 'a'.repeat(64) });
  const files = [
    file('m-F16.gguf', 270),
    file('m-Q8_0.gguf', 145),
    file('m-Q5_K_M.gguf', 91),
    file('m-Q4_0.gguf', 76),
    file('mmproj-F16.gguf', 1),
  ];

  it('the most exact that fits, else a usual one, and why', () => {
    expect(choose('o/m', files, 128 * MB)).toMatchObject({
      main: 'm-Q5_K_M.gguf',
      why: /Q5_K_M is the most exact that fits 128/ as unknown,
    });
    expect(choose('o/m', files, 256 * MB).main).toBe('m-Q8_0.gguf');
    expect(choose('o/m', files, 64 * MB)).toMatchObject({ main: 'm-Q4_0.gguf' });
    expect(choose('o/m', files, 64 * MB).why).toContain('none fits');
    expect(choose('o/m', files, 128 * MB, 'q4_0').main).toBe('m-Q4_0.gguf');
    expect(() => choose('o/m', files, 128 * MB, 'Q2_K')).toThrow('it has F16, Q8_0, Q5_K_M, Q4_0');
    expect(() => choose('o/m', [file('m-Q4_0-00001-of-00002.gguf', 1)], 128 * MB)).toThrow('split');
    expect(() => choose('o/m', [file('README.md', 1)], 128 * MB)).toThrow('neither');
  });
});

describe('pull', () => {
  it('brings a file that opens, once, and shows it', async () => {
    const m = await get('hf:org/tiny-GGUF:Q4_0');
    const path = store.pathOf(m);
    expect(path.endsWith('tiny-Q4_0.gguf')).toBe(true);
    const model = await openModel(path);
    expect(model.config.hidden).toBe(64);
    await model.close();
    expect(said).toContain('licence: apache-2.0');
    const before = server.log.length;
    expect((await get('hf:org/tiny-GGUF:Q4_0')).files).toEqual(m.files);
    expect(server.log.slice(before).some((l) => l.path.includes('resolve'))).toBe(false);
    expect(store.list()).toHaveLength(1);
  });

  it('keeps a content once, and takes it out with its last name', async () => {
    await get('hf:org/tiny-GGUF:Q4_0');
    await get('hf:org/tiny-GGUF:Q8_0'); // the same bytes
    expect(contents()).toHaveLength(1);
    expect(await store.remove('hf:org/tiny-GGUF:Q4_0')).toBe(0);
    expect(readFileSync(store.pathOf(store.get('hf:org/tiny-GGUF:Q8_0')!)).length).toBe(small16.length);
    expect(await store.remove('hf:org/tiny-GGUF:Q8_0')).toBe(small16.length);
    expect(contents()).toHaveLength(0);
    expect(await store.remove('hf:org/tiny-GGUF:Q8_0')).toBeUndefined();
  });

  it('brings a folder of safetensors that opens', async () => {
    const m = await get('hf:org/folder');
    const model = await openModel(store.pathOf(m));
    expect(model.config.layers).toBe(2);
    await model.close();
  });

  it('goes on within a try when connections break, and in a later try where the first ended', async () => {
    server.faults.breakAfter = { bytes: 3 * MB, times: 5 };
    await get('hf:org/big-GGUF');
    expect(Buffer.compare(readFileSync(store.pathOf(store.get('hf:org/big-GGUF')!)), big)).toBe(0);
    expect(said.some((l) => l.includes('the connection broke'))).toBe(true);
    await store.remove('hf:org/big-GGUF');

    const stop = new AbortController();
    const seen: number[] = [];
    const cancelled = get('hf:org/big-GGUF', {
      signal: stop.signal,
      progress: (n) => {
        seen.push(n);
        if (n > 10 * MB) stop.abort(new Error('enough'));
      },
    });
    await expect(cancelled).rejects.toThrow('enough');
    expect(store.list()).toEqual([]);
    expect(store.unfinished()).toHaveLength(1);
    server.log.length = 0;
    const first: number[] = [];
    await get('hf:org/big-GGUF', { progress: (n) => first.push(n) });
    expect(first[0]).toBeGreaterThan(0);
    expect(first.at(-1)).toBe(big.length);
    const asked = server.log
      .filter((l) => l.path.startsWith('cdn:'))
      .map((l) => /(\d+)-(\d+)/.exec(l.range!)!)
      .reduce((n, [, from, to]) => n + Number(to) + 1 - Number(from), 0);
    expect(asked).toBe(big.length - first[0]); // nothing came twice
    expect(Buffer.compare(readFileSync(store.pathOf(store.get('hf:org/big-GGUF')!)), big)).toBe(0);
    expect(contents()).toHaveLength(1); // no part, no ranges, no lock
  });

  it('throws away what has another digest', async () => {
    server.faults.damaged = true;
    await expect(get('hf:org/tiny-GGUF:Q4_0')).rejects.toThrow(/has the digest .* must have .* thrown away/);
    expect(contents()).toEqual([]);
    expect(store.list()).toEqual([]);
  });

  it('gives up, with a part to go on from, when the hub goes away', async () => {
    server.faults.breakAfter = { bytes: 100, times: 1_000 };
    server.faults.slow = 1;
    let came: () => void = () => {};
    const some = new Promise<void>((done) => {
      came = done;
    });
    const broken = get('hf:org/big-GGUF', { progress: (n) => n > 0 && came() });
    await Promise.all([expect(broken).rejects.toThrow(/cannot be reached|ended|terminated|abort/i), some.then(() => server.close())]);
    expect(store.list()).toEqual([]);
    expect(contents().some((f) => f.endsWith('.lock'))).toBe(false);
    expect(store.unfinished()).toHaveLength(1);
    await store.removeUnfinished();
    expect(contents()).toEqual([]);
  });

  it('says how a gated repository opens, and sends the token to the hub alone', async () => {
    await expect(get('hf:org/gated-GGUF')).rejects.toThrow(
      /gated: accept its licence at https:\/\/huggingface.co\/org\/gated-GGUF, then set HF_TOKEN/,
    );
    expect(said).toContain('licence: gemma; its terms: https://huggingface.co/org/gated-GGUF'); // before anything is fetched
    server.log.length = 0;
    await get('hf:org/gated-GGUF', { token: TOKEN });
    const cdn = server.log.filter((l) => l.path.startsWith('cdn:'));
    expect(cdn.length).toBeGreaterThan(0);
    expect(cdn.every((l) => l.authorization === undefined)).toBe(true);
    expect(() => new Hub({ endpoint: 'http://mirror.example', token: TOKEN })).toThrow('not encrypted');
    expect(() => new Hub({ endpoint: 'ftp://x' })).toThrow('HF_ENDPOINT');
  });

  it('waits as a busy hub asks', async () => {
    server.faults.busy = { retryAfter: 1, times: 2 };
    await get('hf:org/tiny-GGUF:Q4_0');
    expect(said.filter((l) => l.includes('asks to wait 1 s (429)'))).toHaveLength(2);
  });

  it('names what is not there', async () => {
    await expect(get('hf:org/none')).rejects.toThrow('no repository org/none');
    await expect(get('hf:org/tiny-GGUF@v9')).rejects.toThrow('no revision v9');
    await expect(get('hf:org/tiny-GGUF:none.gguf')).rejects.toThrow('it has Q4_0, Q8_0');
    await expect(get('hf:org/tiny-GGUF', { endpoint: 'http://127.0.0.1:1' })).rejects.toThrow(/cannot be reached.*HF_ENDPOINT/);
  });

  it('refuses what does not fit the disk before it begins, and a second process for the same file', async () => {
    const { statfs } = await import('node:fs/promises');
    const { bavail, bsize } = await statfs(folder);
    const hub = new Hub({ endpoint: server.url });
    const { download } = await import('../../cli/hub/download.ts');
    const path = join(folder, 'x');
    const file = { path: 'big.Q4_1.gguf', bytes: bavail * bsize + 1, sha256: 'a'.repeat(64) };
    await expect(download(hub, 'org/big-GGUF', 'main', file, path)).rejects.toThrow(
      /free, and .* are to come: make room, or set TURNSTONE_CACHE/,
    );
    expect(existsSync(`${path}.part`)).toBe(false);

    const m = await get('hf:org/tiny-GGUF:Q4_0');
    await store.remove('hf:org/tiny-GGUF:Q4_0');
    const lock = `${store.blobPath(m.files[0].blob)}.lock`;
    await writeFile(lock, '1'); // a living process
    await expect(get('hf:org/tiny-GGUF:Q4_0')).rejects.toThrow('process 1 is fetching');
    await writeFile(lock, '999999999'); // one that has ended
    await get('hf:org/tiny-GGUF:Q4_0');
  });

  it('errors are of one kind', async () => {
    await expect(get('hf:org/none')).rejects.toBeInstanceOf(PullError);
  });
});
