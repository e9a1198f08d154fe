/** Blocks of files as the integers that they are, and where a pack's bytes come from, each to the letter. */
import { describe, expect, it } from 'vitest';
import { pieceBytes } from '../../engine/adapters.ts';
import { readConfig } from '../../engine/config.ts';
import { PLANES } from '../../engine/planes.ts';
import { keptAs, readPlanes, type TypedPlanes } from '../../models/gguf/planes.ts';
import { typeNamed } from '../../models/gguf/types.ts';
import { adapterFile, isAdapterName, readAdapter, readIndex, writeAdapter, writeIndex } from '../../models/pack/adapter.ts';
import { hex, sha256Hex } from '../../models/pack/hash.ts';
import { canonicalJson } from '../../models/pack/manifest.ts';
import { chunks, memoryPack, r2Pack, readWhole, urlPack } from '../../models/pack/source.ts';

/** FNV-1a, 32 bits. */
const hash = (bytes: Uint8Array): string => {
  let h = 0x811c9dc5;
  for (const b of bytes) h = Math.imul(h ^ b, 0x01000193) >>> 0;
  return h.toString(16).padStart(8, '0');
};
const formats = [...keptAs.values()];

describe('blocks of a file', () => {
  /** Five blocks of every byte, their scales finite. */
  const raw = (format: TypedPlanes): Uint8Array => {
    const type = [...keptAs].find(([, f]) => f === format)![0];
    const { bytes } = typeNamed(type);
    const out = Uint8Array.from({ length: 5 * bytes }, (_, i) => (i * 151 + (i >> 3) * 7 + 3) & 255);
    const halves = { q2_k: [80, 82], q3_k: [108], q6_k: [208] }[format as string] ?? [0, 2];
    for (let b = 0; b < 5; b++) for (const at of halves) out[b * bytes + at + 1] &= 0x3b;
    if (format === 'mxfp4') for (let b = 0; b < 5; b++) out[b * bytes] = 60 + b;
    return out;
  };
  const WANTED: Record<string, string> = {
    q4_1: 'fc9cf96e c6eece58 f0738430 811c9dc5 811c9dc5',
    q5_0: 'a04ae41f 58b44d40 811c9dc5 811c9dc5 811c9dc5',
    q5_1: '1efc9d71 7c8eda50 79fb5adc 811c9dc5 811c9dc5',
    iq4_nl: '33b4fe78 05165554 811c9dc5 811c9dc5 811c9dc5',
    mxfp4: '0ceb88ec 31895abd 811c9dc5 811c9dc5 811c9dc5',
    q2_k: '1628102f b50ffcc0 84e98bfc cbacea55 621ecfe9',
    q3_k: '8b6eca91 ff667434 811c9dc5 9b38d99a 811c9dc5',
    q4_k: '3b5c8cd1 68600bc8 4d85ba3c bbbbc69d feab0906',
    q5_k: '893b2baf be5adbf0 17d2951c a2536abd 02d33f49',
    q6_k: '5738ae89 363dba04 811c9dc5 ff5b7fcd 811c9dc5',
    iq4_xs: '0b3f9b5b e4703844 811c9dc5 2b6fd6ed 811c9dc5',
  };

  it('have these types', () => {
    expect(Object.fromEntries(keptAs)).toEqual({
      ...{ Q4_1: 'q4_1', Q5_0: 'q5_0', Q5_1: 'q5_1', IQ4_NL: 'iq4_nl', MXFP4: 'mxfp4', IQ4_XS: 'iq4_xs' },
      ...{ Q2_K: 'q2_k', Q3_K: 'q3_k', Q4_K: 'q4_k', Q5_K: 'q5_k', Q6_K: 'q6_k' },
    });
  });

  it.each(formats)('of %s are these integers', (format) => {
    const { block } = PLANES[format];
    const p = readPlanes(format, raw(format), 5 * block);
    const parts = [p.q, new Uint8Array(p.d.buffer), new Uint8Array(p.m.buffer), p.scales, p.minima];
    expect(parts.map(hash).join(' ')).toBe(WANTED[format]);
    expect(readPlanes(format, raw(format), 2 * block).q).toEqual(p.q.slice(0, 2 * block));
  });

  it.each(formats)('of %s have finite scales', (format) => {
    const bytes = raw(format);
    const at = { q2_k: [80, 82], q3_k: [108], q6_k: [208], q4_1: [0, 2], q5_1: [0, 2], q4_k: [0, 2], q5_k: [0, 2] }[format as string] ?? [
      0,
    ];
    for (const i of at) {
      const wrong = bytes.slice();
      if (format === 'mxfp4') wrong[0] = 251;
      else [wrong[i], wrong[i + 1]] = [0xff, 0x7b]; // 65504
      expect(() => readPlanes(format, wrong, PLANES[format].block)).not.toThrow();
      for (const high of [0x7c, 0xfc, 0x7f]) {
        wrong[i + 1] = high;
        if (format === 'mxfp4') wrong[0] = 252;
        expect(() => readPlanes(format, wrong, PLANES[format].block)).toThrow('has a block whose scale is not finite');
      }
    }
  });
});

describe('the files of a pack', () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);
  const read = async (stream: Promise<ReadableStream<Uint8Array>>) => {
    const got: number[] = [];
    for await (const c of chunks(await stream)) got.push(...c);
    return got;
  };
  const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
  /** Offset and length asked for, and what of the 100 bytes comes. */
  const parts: [offset: number | undefined, length: number | undefined, from: number, to: number][] = [
    [undefined, undefined, 0, 100],
    [0, 10, 0, 10],
    [10, undefined, 10, 100],
    [10, 5, 10, 15],
    [95, 50, 95, 100],
    [0, 0, 0, 0],
  ];

  it('come from memory, whole and in parts', async () => {
    const pack = memoryPack(new Map([['a', bytes]]));
    for (const [offset, length, from, to] of parts) expect(await read(pack.open('a', offset, length))).toEqual(range(from, to));
    await expect(pack.open('b')).rejects.toThrow('file "b": is not in the pack');
    const large = new Uint8Array((2 << 20) + 5).fill(7);
    const sizes: number[] = [];
    for await (const c of chunks(await memoryPack(new Map([['l', large]])).open('l'))) sizes.push(c.length);
    expect(sizes).toEqual([1 << 20, 1 << 20, 5]);
    expect(Buffer.compare(await readWhole(memoryPack(new Map([['l', large]])), 'l', large.length), large)).toBe(0);
    await expect(readWhole(memoryPack(new Map([['l', large]])), 'l', large.length - 1)).rejects.toThrow(
      `is longer than ${large.length - 1} bytes`,
    );
  });

  it.each([true, false])('come from a server that knows ranges, or does not (%j)', async (knows) => {
    const asked: unknown[] = [];
    const fetcher = async (url: string, init: { headers?: Record<string, string> } = {}) => {
      asked.push([url, init.headers]);
      const [, a, b] = /bytes=(\d+)-(\d*)/.exec(init.headers?.range ?? '') ?? [];
      if (a === undefined || !knows) {
        let at = 0; // in pieces of 7
        return new Response(new ReadableStream({ pull: (c) => (at >= 100 ? c.close() : c.enqueue(bytes.subarray(at, (at += 7)))) }));
      }
      return new Response(bytes.slice(Number(a), b === '' ? 100 : Number(b) + 1), { status: 206 });
    };
    for (const [offset, length, from, to] of parts.slice(0, 5))
      expect(await read(urlPack('http://h/p', fetcher, { x: '1' }).open('a', offset, length))).toEqual(range(from, to));
    expect(asked).toEqual([
      ['http://h/p/a', { x: '1' }],
      ['http://h/p/a', { x: '1', range: 'bytes=0-9' }],
      ['http://h/p/a', { x: '1', range: 'bytes=10-' }],
      ['http://h/p/a', { x: '1', range: 'bytes=10-14' }],
      ['http://h/p/a', { x: '1', range: 'bytes=95-144' }],
    ]);
    await urlPack('http://h/p/', fetcher).open('b');
    expect(asked.at(-1)).toEqual(['http://h/p/b', {}]);
    await expect(urlPack('http://h', async () => new Response('', { status: 404 })).open('a')).rejects.toThrow('http://h/a answered 404');
  });

  it('come from a bucket', async () => {
    const asked: unknown[] = [];
    const bucket = {
      get: async (key: string, o: object = {}) => {
        asked.push([key, o]);
        return key === 'm/a' ? { body: new Response(bytes).body! } : null;
      },
    };
    for (const [offset, length] of parts.slice(0, 4)) await r2Pack(bucket, 'm/').open('a', offset, length);
    expect(asked).toEqual([
      ['m/a', {}],
      ['m/a', { range: { offset: 0, length: 10 } }],
      ['m/a', { range: { offset: 10 } }],
      ['m/a', { range: { offset: 10, length: 5 } }],
    ]);
    await expect(r2Pack(bucket).open('a')).rejects.toThrow('is not in the bucket as a');
  });

  it('are named by their content', () => {
    expect(hex(Uint8Array.of(0, 15, 255))).toBe('000fff');
    expect(sha256Hex(new TextEncoder().encode('abc'))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    expect(canonicalJson({ b: [{ d: 1, c: null }], a: 'x' })).toBe('{"a":"x","b":[{"c":null,"d":1}]}');
  });
});

describe('adapters beside a pack', () => {
  const id = 'ab'.repeat(32);
  const entry = { name: 'x', id, bytes: 1, created: 0 };
  const index = (list: readonly object[]) =>
    readIndex(memoryPack(new Map([['adapters/index.json', new TextEncoder().encode(JSON.stringify({ adapters: list }))]])));

  it('have names that stand behind a colon', () => {
    for (const name of ['a', 'A0', '0._-z', 'x'.repeat(64)]) expect(isAdapterName(name), name).toBe(true);
    for (const name of ['', '.a', '-a', '_a', 'a:b', 'a b', 'a/b', 'é', 'x'.repeat(65), 'a\n'])
      expect(isAdapterName(name), name).toBe(false);
    expect(adapterFile(id)).toBe(`adapters/${id}.lora`);
  });

  it('are listed in an index, each within its bounds', async () => {
    const list = [entry, { name: 'y', id, bytes: 2 ** 32, created: 2 ** 40 }];
    expect(JSON.parse(writeIndex(list))).toEqual({ adapters: list });
    expect(writeIndex([])).toBe('{\n  "adapters": []\n}\n');
    expect(await index(list)).toEqual(list);
    expect(await readIndex(memoryPack(new Map()))).toEqual([]);
    for (const [wrong, why] of [
      [{ bytes: 0 }, 'bytes'],
      [{ bytes: 2 ** 32 + 1 }, 'bytes'],
      [{ created: -1 }, 'created'],
      [{ created: 2 ** 40 + 1 }, 'created'],
      [{ name: 7 }, 'name'],
      [{ name: '.x' }, 'has no name or id at 1'],
      [{ id: id.slice(1) }, 'has no name or id at 1'],
      [{ id: `${id}0` }, 'has no name or id at 1'],
      [{ id: id.toUpperCase() }, 'has no name or id at 1'],
    ] as const)
      await expect(index([entry, { ...entry, ...wrong }]), why).rejects.toThrow(why);
    const large = new Uint8Array((1 << 20) + 1).fill(0x20);
    await expect(readIndex(memoryPack(new Map([['adapters/index.json', large]])))).rejects.toThrow('is longer than');
  });

  const config = readConfig({
    ...{
      family: 'llama',
      vocab: 64,
      hidden: 16,
      layers: 2,
      heads: 2,
      kvHeads: 2,
      headDim: 8,
      ffn: 32,
      context: 64,
      normEps: 1e-5,
      ropeTheta: 1e4,
    },
  });
  const read = (bytes: Uint8Array, name = sha256Hex(bytes)) => readAdapter(config, name, bytes);
  it('hold pieces, each where the header says, and nothing else', async () => {
    const pieces = [0, 1].map((layer) => ({ layer, matrix: 'o', row: 0, rank: 2, N: 16, K: 16 }));
    const parts = pieces.map((piece, i) => ({ piece, read: async () => new Uint8Array(pieceBytes(piece as never)).fill(i + 1) }));
    const { id: own, bytes } = await writeAdapter(parts as never);
    expect(own).toBe(sha256Hex(bytes));
    const size = new DataView(bytes.buffer).getUint32(8, true);
    expect([new TextDecoder().decode(bytes.subarray(0, 8)), new TextDecoder().decode(bytes.subarray(12, 12 + size))]).toEqual([
      'TLORA001',
      JSON.stringify({ pieces }),
    ]);
    const start = Math.ceil((12 + size) / 64) * 64;
    expect(bytes.length).toBe(start + 2 * pieceBytes(pieces[0] as never));
    const pack = read(bytes);
    expect(pack.pieces).toEqual(pieces);
    expect([0, 1].map((i) => [pack.read(i).byteOffset, pack.read(i).length, pack.read(i)[0]])).toEqual(
      [0, 1].map((i) => [start + i * pieceBytes(pieces[0] as never), pieceBytes(pieces[0] as never), i + 1]),
    );
    const changed = (f: (b: Uint8Array) => void) => {
      const copy = bytes.slice();
      f(copy);
      return copy;
    };
    expect(() => read(bytes, id)).toThrow('is damaged: its SHA-256 is not its name');
    expect(() => read(bytes.slice(0, 11))).toThrow('does not begin with TLORA001');
    expect(() => read(changed((b) => b.set([0x55])))).toThrow('does not begin with TLORA001');
    expect(() => read(changed((b) => new DataView(b.buffer).setUint32(8, b.length - 11, true)))).toThrow(
      `says that its header has ${bytes.length - 11} bytes`,
    );
    expect(() => read(changed((b) => new DataView(b.buffer).setUint32(8, 2 ** 31, true)))).toThrow(
      'says that its header has 2147483648 bytes',
    );
    expect(() => read(bytes.slice(0, -4))).toThrow(`has ${bytes.length - 4} bytes, its pieces make ${bytes.length}`);
    expect(() => read(Uint8Array.of(...bytes, 0))).toThrow(`has ${bytes.length + 1} bytes, its pieces make ${bytes.length}`);
    const of = async (more: object) =>
      (await writeAdapter([{ piece: { ...pieces[0], ...more }, read: async () => new Uint8Array() }] as never)).bytes;
    for (const wrong of [{ layer: 2 }, { layer: -1 }, { matrix: 'x' }, { row: 9 }, { rank: 0 }, { K: 15 }]) {
      const bad = await of(wrong);
      expect(() => read(bad), JSON.stringify(wrong)).toThrow(adapterFile(sha256Hex(bad)));
    }
  });
});
