import { beforeAll, describe, expect, it } from 'vitest';
import type { Part, Range } from '../../engine/anatomy.ts';
import type { Buf } from '../../engine/backend.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { ModelFileError } from '../../models/error.ts';
import { openGguf } from '../../models/gguf/open.ts';
import { loadModel } from '../../models/model.ts';
import { nodeHasher } from '../../models/node/files.ts';
import { defaultHasher } from '../../models/pack/hash.ts';
import { loadPart, loadTokenizer, loadWeights, openPack } from '../../models/pack/load.ts';
import { type Manifest, packDigest, readManifest, SHARD_BYTES } from '../../models/pack/manifest.ts';
import { deployedPack, memoryPack, type PackSource, r2Pack, urlPack } from '../../models/pack/source.ts';
import { writePack } from '../../models/pack/write.ts';
import { memorySource } from '../../models/source.ts';
import { small, smallGguf } from './small-model.ts';

// biome-ignore lint/suspicious/noExplicitAny: the point is to write wrong things
type Loose = Record<string, any>;

const files = new Map<string, Uint8Array>();
const wide = { ...small, hidden: 128, ffn: 160, vocab: 1001, tied: true };

async function pack(config = small, format: 'f32' | 'w4' | 'w8' = 'w4', into = files) {
  const model = await openGguf(memorySource(smallGguf(config), 'small.gguf'));
  into.clear();
  return writePack(
    model,
    {
      async write(name, bytes) {
        into.set(name, bytes.slice());
      },
    },
    { format },
  );
}

/** Every byte that a backend holds, by label. */
async function memoryOf(load: (be: ReturnType<typeof createReference>) => Promise<unknown>): Promise<Map<string, Uint8Array>> {
  const be = createReference();
  const bufs: Buf[] = [];
  const spy: typeof be = { ...be, alloc: (bytes, label) => bufs[bufs.push(be.alloc(bytes, label)) - 1] };
  await load(spy);
  return new Map(await Promise.all(bufs.map(async (b) => [b.label, await be.read(b, 0, b.bytes)] as const)));
}

/** Streams in pieces of odd sizes. */
const choppy = (source: PackSource, sizes: number[]): PackSource => ({
  async open(name) {
    const reader = (await source.open(name)).getReader();
    let i = 0;
    let rest = new Uint8Array(0);
    return new ReadableStream({
      async pull(controller) {
        if (rest.length === 0) {
          const r = await reader.read();
          if (r.done) return controller.close();
          rest = r.value.slice();
        }
        const n = sizes[i++ % sizes.length];
        controller.enqueue(rest.slice(0, n));
        rest = rest.slice(n);
      },
    });
  },
});

describe('packs', () => {
  let written: Awaited<ReturnType<typeof pack>>;
  beforeAll(async () => {
    written = await pack();
  });

  it('load to the same bytes as the GGUF file itself, from every kind of source', async () => {
    for (const [config, format] of [
      [small, 'w4'],
      [small, 'f32'],
      [wide, 'w8'],
    ] as const) {
      const { digest } = await pack(config, format);
      const direct = await memoryOf(async (be) => loadModel(await openGguf(memorySource(smallGguf(config), 'small.gguf')), be, { format }));
      const memory = memoryPack(files);
      const sources: PackSource[] = [
        memory,
        choppy(memory, [1, 3, 7, 1000, 4097]),
        urlPack('http://host/pack', async (url) => {
          const bytes = files.get(url.split('/').pop() ?? '');
          return new Response(bytes as Uint8Array<ArrayBuffer> | undefined, { status: bytes ? 200 : 404 });
        }),
        r2Pack(
          {
            async get(key) {
              const bytes = files.get(key.replace('models/x/', '')) as Uint8Array<ArrayBuffer> | undefined;
              return bytes ? { body: new Blob([bytes]).stream() } : null;
            },
          },
          'models/x/',
        ),
      ];
      for (const source of sources) {
        const opened = await openPack(source);
        expect(opened.digest).toBe(digest);
        const loaded = await memoryOf((be) => loadWeights(source, opened.manifest, be));
        expect(loaded.size).toBe(direct.size);
        for (const [name, bytes] of direct) expect(Buffer.compare(loaded.get(name) ?? new Uint8Array(), bytes), name).toBe(0);
      }
    }
    await pack();
  });

  it('are found where a deployment keeps them: the bucket first, then the assets, else the error names both', async () => {
    await pack();
    const body = (name: string) => files.get(name) as Uint8Array<ArrayBuffer> | undefined;
    const asked: string[] = [];
    const PACKS = (has: boolean) => ({
      head: async (key: string) => (has && key === 'small/model.json' ? {} : null),
      get: async (key: string) => {
        asked.push(`r2 ${key}`);
        return { body: new Blob([body(key.replace('small/', ''))!]).stream() };
      },
    });
    const ASSETS = {
      fetch: async (url: string, init?: { method?: string }) => {
        asked.push(`assets ${new URL(url).pathname}`);
        const bytes = url.includes('/packs/small/') ? body(url.split('/').pop()!) : undefined;
        return new Response(init?.method === 'HEAD' ? null : bytes, { status: bytes ? 200 : 404 });
      },
    };
    const { digest } = await openPack(memoryPack(files));
    expect((await openPack(await deployedPack({ PACKS: PACKS(true), ASSETS }, 'small'))).digest).toBe(digest);
    expect(asked.every((a) => a.startsWith('r2 small/'))).toBe(true);
    asked.length = 0;
    expect((await openPack(await deployedPack({ PACKS: PACKS(false), ASSETS }, 'small'))).digest).toBe(digest);
    expect(asked.every((a) => a.startsWith('assets /packs/small/'))).toBe(true);
    const nowhere = deployedPack({ PACKS: PACKS(false), ASSETS }, 'other');
    await expect(nowhere).rejects.toThrow(/R2 bucket \(other\/model\.json\).*assets \(\/packs\/other\/model\.json\)/);
  });

  it('keeps the tokenizer, the template and the configuration', async () => {
    const { manifest } = await openPack(memoryPack(files));
    expect(manifest.config).toEqual(small);
    expect(manifest.chatTemplate).toBe('{{ messages[0].content }}');
    const t = await loadTokenizer(memoryPack(files), manifest);
    expect(t.decode(t.encode('hello'))).toBe('hello');
    expect(t.stopIds).toContain(261);
  });

  it('cuts shards at 24 MiB and joins them again', async () => {
    const big = { ...small, vocab: 52_000, hidden: 128, tied: true };
    const many = new Map<string, Uint8Array>();
    const { manifest } = await pack(big, 'f32', many);
    expect(manifest.shards.length).toBe(2);
    expect(manifest.shards.slice(0, -1).every((s) => s.bytes === SHARD_BYTES)).toBe(true);
    const loaded = await memoryOf((be) => loadWeights(memoryPack(many), manifest, be, { hasher: nodeHasher }));
    const direct = await memoryOf(async (be) =>
      loadModel(await openGguf(memorySource(smallGguf(big), 'x')), be, { format: 'f32', hasher: nodeHasher }),
    );
    for (const [name, bytes] of direct) expect(Buffer.compare(loaded.get(name) ?? new Uint8Array(), bytes), name).toBe(0);
  });

  it('have no shard without bytes', async () => {
    const model = await openGguf(memorySource(smallGguf(small), 'small.gguf'));
    const written: string[] = [];
    const sink = { write: async (name: string) => void written.push(name) };
    const { manifest } = await writePack({ ...model, tensors: [] }, sink, { format: 'w4' });
    expect([manifest.shards, written.filter((name) => name.startsWith('weights'))]).toEqual([[], []]);
  });

  it('load a part of the model: its bytes, and no shard without any of them', async () => {
    const big = { ...small, vocab: 52_000, hidden: 128, tied: true };
    const many = new Map<string, Uint8Array>();
    const { manifest } = await pack(big, 'f32', many);
    const all = await memoryOf((be) => loadWeights(memoryPack(many), manifest, be, { hasher: nodeHasher }));
    const parts: [Part, shards: number[]][] = [
      [{ layers: [0, 0], embed: [0, 800], head: [0, 800] }, [0, 1]],
      [{ layers: [0, 0], embed: [800, 1600] }, [0]],
      [{ layers: [1, big.layers] }, [1]],
      [{ layers: [0, 1], embed: [51_200, 52_000], head: [51_200, 52_000] }, [1]],
    ];
    for (const [part, shards] of parts) {
      const opened: string[] = [];
      const source: PackSource = {
        open(name) {
          opened.push(name);
          return memoryPack(many).open(name);
        },
      };
      const loaded = await memoryOf((be) => loadPart(source, manifest, be, part, { hasher: nodeHasher }));
      expect(opened, JSON.stringify(part)).toEqual(shards.map((i) => manifest.shards[i].name));
      for (const [name, bytes] of loaded) {
        const from = name === 'embed' ? (part.embed as Range)[0] * big.hidden * 4 : 0;
        expect(Buffer.compare(bytes, (all.get(name) as Uint8Array).subarray(from, from + bytes.length)), name).toBe(0);
      }
      expect(
        [...loaded.keys()].filter((name) => name.startsWith('layers.')).every((name) => Number(name.split('.')[1]) >= part.layers[0]),
      ).toBe(true);
    }
  });

  it('has one digest for one content, whatever the order of its keys', () => {
    const text = new TextDecoder().decode(files.get('model.json'));
    const manifest = readManifest(new TextEncoder().encode(text));
    expect(packDigest(manifest)).toBe(written.digest);
    const reversed = JSON.parse(text, (_, v: unknown) =>
      typeof v === 'object' && v !== null && !Array.isArray(v) ? Object.fromEntries(Object.entries(v).reverse()) : v,
    ) as unknown;
    expect(packDigest(readManifest(new TextEncoder().encode(JSON.stringify(reversed))))).toBe(written.digest);
    expect(packDigest({ ...manifest, name: 'other' })).not.toBe(written.digest);
  });

  it('hashes the same in JavaScript, Node and the file', async () => {
    const bytes = files.get('weights-000.bin') as Uint8Array;
    for (const make of [defaultHasher, nodeHasher]) {
      const h = make();
      await h.update(bytes.subarray(0, 1001));
      await h.update(bytes.subarray(1001));
      expect(await h.digest()).toBe(written.manifest.shards[0].sha256);
    }
  });

  const load = (source: PackSource, manifest: Manifest, verify = true) =>
    loadWeights(source, manifest, createReference(), { verify }).then(
      () => 'loaded',
      (e: unknown) => {
        expect(e).toBeInstanceOf(ModelFileError);
        return (e as Error).message;
      },
    );

  it('says which shard is short, long, missing or damaged, and where', async () => {
    const manifest = written.manifest;
    const shard = files.get('weights-000.bin') as Uint8Array;
    const withShard = (bytes?: Uint8Array) => {
      const m = new Map(files);
      m.delete('weights-000.bin');
      if (bytes) m.set('weights-000.bin', bytes);
      return memoryPack(m);
    };
    expect(await load(withShard(shard), manifest)).toBe('loaded');
    expect(await load(withShard(shard.slice(0, 20_000)), manifest)).toMatch(
      /^shard "weights-000.bin": ends after 20000 of \d+ bytes, within tensor "layers\.\d\.\w+" \(at byte 20000\)$/,
    );
    expect(await load(withShard(Uint8Array.from([...shard, 0])), manifest)).toMatch(/shard "weights-000.bin": is longer than/);
    expect(await load(withShard(), manifest)).toMatch(/file "weights-000.bin": is not in the pack/);
    const damaged = shard.slice();
    damaged[12345] ^= 1;
    expect(await load(withShard(damaged), manifest)).toMatch(/shard "weights-000.bin": has SHA-256 [0-9a-f]{64}, must have/);
    expect(await load(withShard(damaged), manifest, false)).toBe('loaded');
    const tokenizer = new Map(files).set('tokenizer.bin', new Uint8Array(files.get('tokenizer.bin') ?? []).fill(0, 40, 44));
    await expect(loadTokenizer(memoryPack(tokenizer), manifest)).rejects.toThrow(/file "tokenizer.bin": has SHA-256/);
  });

  it('checks every field of the manifest', () => {
    const read = (change: (m: Record<string, never>) => void) => {
      const m = JSON.parse(new TextDecoder().decode(files.get('model.json'))) as Record<string, never>;
      change(m);
      return () => readManifest(new TextEncoder().encode(JSON.stringify(m)));
    };
    const edits: [RegExp, (m: Loose) => void][] = [
      [/version is 2/, (m) => (m.version = 2)],
      [/layout is 99, must be \d+; pack the model again/, (m) => (m.layout = 99)],
      [/heads 4 is no multiple of kvHeads 3/, (m) => (m.config.kvHeads = 3)],
      [/vocab is "x"/, (m) => (m.config.vocab = 'x')],
      [/tensor "embed": offset must be a multiple of 64/, (m) => (m.tensors[0].offset = 1)],
      [/tensor "layers.0.qkv": has \d+ bytes, w4 of its shape takes/, (m) => (m.tensors[2].bytes += 4)],
      [/tensor "layers.0.qkv": format is "w2"/, (m) => (m.tensors[2].format = 'w2')],
      [/tensor "layers.0.attnNorm": is a vector of format w4/, (m) => (m.tensors[1].format = 'w4')],
      [/tensor "layers.0.qkv": shape is \[1,1\]/, (m) => (m.tensors[2].shape = [1, 1])],
      [/tensors\[2\]: name is "other", must be "layers.0.qkv"/, (m) => (m.tensors[2].name = 'other')],
      [/tensors is \d+, must be \d+ tensors/, (m) => m.tensors.pop()],
      [/ends at \d+ but the shards end at 64/, (m) => (m.shards[0].bytes = 64)],
      [/shards\[0\].bytes/, (m) => (m.shards[0].bytes = SHARD_BYTES + 64)],
      [/name is "..\/x", must be a plain file name/, (m) => (m.shards[0].name = '../x')],
      [/sha256 is "abc"/, (m) => (m.shards[0].sha256 = 'abc')],
      [/two of its files have the same name/, (m) => (m.shards[0].name = 'tokenizer.bin')],
      [/stopIds is 99999/, (m) => (m.generation.stopIds = [99999])],
      [/temperature is 99/, (m) => (m.generation.temperature = 99)],
    ];
    for (const [message, change] of edits) expect(read(change), String(message)).toThrow(message);
    expect(() => readManifest(new TextEncoder().encode('{'))).toThrow(ModelFileError);
  });
});
