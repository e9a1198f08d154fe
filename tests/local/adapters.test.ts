/** Adapters by name in the API: `pebble:orders` beside `pebble`, loaded when asked for, dropped for room and when they are taken away. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodePage, FRAME, FrameReader } from '../../accelerator/protocol.ts';
import { AdapterBook, LocalAdapters } from '../../cli/adapters.ts';
import { ROOT } from '../../cli/build.ts';
import { packCommand } from '../../cli/pack.ts';
import { localPack } from '../../cli/packs.ts';
import { folderPack } from '../../models/node/files.ts';
import { type AdapterEntry, adapterFile } from '../../models/pack/adapter.ts';
import type { PackSource } from '../../models/pack/source.ts';
import { openModel, wasmMaker } from '../../serving/run/open.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import { wasmModules } from '../kernels/modules.ts';
import { randomPeft } from '../models/random-peft.ts';
import { appOf, requestTo } from './host.ts';

const folders: string[] = [];
const folder = () => {
  const made = mkdtempSync(join(tmpdir(), 'turnstone-adapters-'));
  folders.push(made);
  return made;
};
afterAll(() => {
  for (const f of folders) rmSync(f, { recursive: true, force: true });
});

function peft(seed: number): string {
  folders.push(randomPeft(seed));
  return folders.at(-1) as string;
}

let adapters: LocalAdapters;
let base: PackSource;
let entry: AdapterEntry;
beforeAll(async () => {
  const pack = await localPack(undefined, () => {});
  base = folderPack(pack.folder);
  adapters = new LocalAdapters(pack, folder());
  entry = await adapters.add('one', peft(1));
  await adapters.add('two', peft(2));
  await adapters.add('three', peft(3));
});

it('of one server stay while another serves the same base without any', async () => {
  const pack = await localPack(undefined, () => {});
  const first = await new AdapterBook(new Map([['one', peft(1)]]), pack.id, folder()).open(pack);
  await new AdapterBook(new Map(), pack.id, folder()).open(pack);
  expect(existsSync(join(first.folder, adapterFile(first.entries[0].id)))).toBe(true);
});

/** The pack with its adapters beside it, as the server's assets have them. */
const source = (): PackSource => {
  const beside = folderPack(adapters.folder);
  return { open: (name, ...range) => (name.startsWith('adapters/') ? beside : base).open(name, ...range) };
};
const open = (adapterBytes: number): Promise<Runtime> =>
  openModel({ source: source(), id: 'pebble', maker: wasmMaker(wasmModules()), memoryBytes: 96 << 20, adapterBytes });

const get = (rt: Runtime, path: string) => appOf(rt).fetch(requestTo(path));
const post = (rt: Runtime, path: string, body: object) => appOf(rt).fetch(requestTo(path, body));
const PROMPT = 'Once upon a time there was a small dog who';
async function complete(rt: Runtime, model: string, more: object = {}) {
  const r = await post(rt, '/v1/completions', { model, prompt: PROMPT, max_tokens: 24, temperature: 0, ignore_eos: true, ...more });
  const json = (await r.json()) as {
    model: string;
    system_fingerprint: string;
    choices: { text: string }[];
    error?: { message: string; code: string };
  };
  return { status: r.status, ...json, text: json.choices?.[0].text };
}
const metric = async (rt: Runtime, name: string) => {
  const text = await (await get(rt, '/metrics')).text();
  return text
    .split('\n')
    .flatMap((l) => (l.startsWith(name) ? [Number(l.split(' ').at(-1))] : []))
    .reduce((a, b) => a + b, 0);
};

describe('adapters by name', () => {
  let rt: Runtime;
  beforeAll(async () => {
    rt = await open(2 * entry.bytes);
  });

  it('are listed as models with their base, and say which answered', async () => {
    const { data } = (await (await get(rt, '/v1/models')).json()) as { data: object[] };
    expect(data).toMatchObject([
      { id: 'pebble' },
      { id: 'pebble:one', parent: 'pebble', state: 'cold', bytes: entry.bytes },
      { id: 'pebble:two' },
      { id: 'pebble:three' },
    ]);
    const [plain, one] = [await complete(rt, 'pebble'), await complete(rt, 'pebble:one')];
    expect(one).toMatchObject({ model: 'pebble:one', system_fingerprint: `${plain.system_fingerprint}-lora-${entry.id.slice(0, 12)}` });
    expect(one.text).not.toBe(plain.text);
    const listed = await get(rt, '/v1/models/pebble:one');
    expect(await listed.json()).toMatchObject({ state: 'loaded' });
  });

  it('mixed in one batch answer as each does alone', async () => {
    const models = ['pebble', 'pebble:one', 'pebble:two', 'pebble:one', 'pebble'];
    const alone: string[] = [];
    for (const m of models) alone.push((await complete(rt, m)).text);
    rt.engine.pool.clear();
    const together = await Promise.all(models.map((m) => complete(rt, m)));
    expect(together.map((a) => a.text)).toEqual(alone);
    expect(rt.engine.stats().largestBatch).toBe(5);
  });

  it("a chat's pages are those of its adapter, and of no other", async () => {
    const messages = [{ role: 'user', content: 'The goat has 4 stones and the bird has 9 stones and a boat.' }];
    rt.engine.pool.clear();
    const pagesOf = async (model: string) => {
      const frames = new FrameReader().push(
        new Uint8Array(await (await post(rt, '/v1/turnstone/pages', { model, messages })).arrayBuffer()),
      );
      return frames.filter((f) => f.type === FRAME.page).map(decodePage);
    };
    await (await post(rt, '/v1/chat/completions', { model: 'pebble:one', messages, max_tokens: 4 })).json();
    expect(await pagesOf('pebble')).toEqual([]);
    const own = await pagesOf('pebble:one');
    expect(own.length).toBeGreaterThan(0);
    await (await post(rt, '/v1/chat/completions', { model: 'pebble', messages, max_tokens: 4 })).json();
    const plain = await pagesOf('pebble');
    expect(plain).toHaveLength(own.length);
    expect(plain.map((p) => p.bytes)).not.toEqual(own.map((p) => p.bytes));
    expect((await post(rt, '/v1/turnstone/pages', { model: 'pebble:nobody', messages })).status).toBe(404);
  });

  it('the least recently used one makes room, never one that computes, whose stream goes on unchanged', async () => {
    const want = (await complete(rt, 'pebble:one', { max_tokens: 120 })).text;
    await complete(rt, 'pebble:two'); // both are there, and there is room for no more
    const drops = await metric(rt, 'turnstone_adapter_drops_total');
    const stream = complete(rt, 'pebble:one', { max_tokens: 120 });
    while (rt.engine.stats().running === 0) await new Promise((done) => setTimeout(done, 1));
    expect((await complete(rt, 'pebble:three')).status).toBe(200); // in the place of two
    expect((await stream).text).toBe(want);
    expect(await metric(rt, 'turnstone_adapter_drops_total')).toBe(drops + 1);
    const busy = [complete(rt, 'pebble:one', { max_tokens: 200 }), complete(rt, 'pebble:three', { max_tokens: 200 })];
    while (rt.engine.stats().running < 2) await new Promise((done) => setTimeout(done, 1));
    const refused = await complete(rt, 'pebble:two');
    expect(refused).toMatchObject({ status: 503, error: { code: 'server_overloaded' } });
    expect(refused.error?.message).toMatch(/needs \d+ KiB, and of \d+ KiB for adapters \d+ are taken/);
    for (const answer of await Promise.all(busy)) expect(answer.status).toBe(200);
  });

  it('one that is taken away is refused, and what runs with it ends as it would have', async () => {
    await adapters.add('gone', peft(4));
    const want = (await complete(rt, 'pebble:gone', { max_tokens: 100 })).text;
    const stream = complete(rt, 'pebble:gone', { max_tokens: 100 });
    while (rt.engine.stats().running === 0) await new Promise((done) => setTimeout(done, 1));
    adapters.remove('gone');
    await expect.poll(async () => (await complete(rt, 'pebble:gone', { max_tokens: 1 })).status, { timeout: 10_000 }).toBe(404);
    expect((await stream).text).toBe(want);
  });

  it('another adapter under the same name answers as itself', async () => {
    await adapters.add('mine', peft(5));
    const first = await complete(rt, 'pebble:mine');
    await adapters.add('mine', peft(1));
    await expect
      .poll(async () => (await complete(rt, 'pebble:mine')).text, { timeout: 10_000 })
      .toBe((await complete(rt, 'pebble:one')).text);
    expect(first.text).not.toBe((await complete(rt, 'pebble:one')).text);
    adapters.remove('mine');
  });

  it('a name that is none, and no model of that name, are 404 with what there is', async () => {
    expect((await complete(rt, 'pebble:four')).error?.message).toContain("'pebble:one', 'pebble:two', 'pebble:three'");
    expect((await complete(rt, 'other:one')).status).toBe(404);
    expect((await complete(rt, 'pebble:../model')).status).toBe(404);
  });
});

it('where no memory is set aside for them, they are refused with what to do', async () => {
  const rt = await open(0);
  const refused = await complete(rt, 'pebble:one');
  expect(refused).toMatchObject({ status: 400, error: { code: 'adapters_unsupported' } });
});

it('beside its base it answers as merged into it: in float32 the same tokens, with log-probabilities within 1e-3', {
  timeout: 60_000,
}, async () => {
  const orders = join(ROOT, 'training/lora/orders-pebble');
  const pack = async (more: object) => {
    const out = folder();
    await packCommand({ source: join(ROOT, 'models/pebble/hf'), out, format: 'f32', say: () => {}, ...more });
    return out;
  };
  const plain = await pack({});
  const merged = await pack({ lora: orders });
  const beside = new LocalAdapters({ id: 'pebble', folder: plain }, folder());
  await beside.add('orders', orders);
  const both = folderPack(beside.folder);
  const opened = (of: string, adapterBytes?: number) => {
    const source: PackSource = { open: (name, ...r) => (name.startsWith('adapters/') ? both : folderPack(of)).open(name, ...r) };
    return openModel({ source, id: 'pebble', maker: wasmMaker(wasmModules()), memoryBytes: 128 << 20, adapterBytes, kv: 'f32' });
  };
  const [base, tuned] = [await opened(plain, 2 << 20), await opened(merged)];
  const answer = async (rt: Runtime, model: string, content: string) => {
    const messages = [
      { role: 'system', content: 'Write the order as JSON with "item", "quantity", "name" and "city".' },
      { role: 'user', content },
    ];
    const r = await post(rt, '/v1/chat/completions', { model, messages, temperature: 0, max_tokens: 40, logprobs: true });
    const { choices } = (await r.json()) as { choices: { logprobs: { content: { token: string; logprob: number }[] } }[] };
    return choices[0].logprobs.content;
  };
  for (const text of ['Lena from Porto wants 3 lamps.', 'New order: six green kettles, buyer Omar, town Lyon.']) {
    const [is, was, without] = [
      await answer(base, 'pebble:orders', text),
      await answer(tuned, 'pebble', text),
      await answer(base, 'pebble', text),
    ];
    expect(is.map((t) => t.token)).toEqual(was.map((t) => t.token));
    for (const [i, { logprob }] of is.entries()) expect(Math.abs(logprob - was[i].logprob)).toBeLessThan(1e-3);
    expect(without.map((t) => t.token)).not.toEqual(is.map((t) => t.token));
  }
});

describe('what is no adapter is refused before it is served', () => {
  it.each([
    ['a name that is none', 'a/b', () => peft(9), /"a\/b" cannot name an adapter/],
    ['no such folder', 'x', () => '/nowhere/at/all', /there is no \/nowhere/],
    ['a folder of something else', 'x', () => folder(), /adapter_config.json/],
  ])('%s', async (_, name, path, message) => {
    await expect(adapters.add(name, path())).rejects.toThrow(message);
    expect(adapters.entries.map((e) => e.name)).not.toContain(name);
  });
});
