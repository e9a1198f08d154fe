/** The edges of what a model's files may say: values and bounds of GGUF, where a pack's bytes come from, which chat template stands in. */
import { describe, expect, it } from 'vitest';
import { ModelFileError } from '../../models/error.ts';
import { ggufConfig } from '../../models/gguf/config.ts';
import { openGguf } from '../../models/gguf/open.ts';
import { readGguf } from '../../models/gguf/reader.ts';
import { tensorTypes, typeNamed } from '../../models/gguf/types.ts';
import { ggufHead, padding, tensorBytes } from '../../models/gguf/write.ts';
import { openPack } from '../../models/pack/load.ts';
import { canonicalJson, readManifest } from '../../models/pack/manifest.ts';
import { chunks, deployedPack, memoryPack, r2Pack, readWhole, urlPack } from '../../models/pack/source.ts';
import { fallbackStops, templateOf } from '../../models/pack/template.ts';
import { costs, type TensorReport, writePack } from '../../models/pack/write.ts';
import { memorySource } from '../../models/source.ts';
import { type Value, writeGguf } from './gguf-writer.ts';
import { ggufMetadata, ggufTensors, small, smallGguf } from './small-model.ts';

const refusal = async (work: Promise<unknown> | (() => unknown)): Promise<string> => {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    if (!(error instanceof ModelFileError)) throw error;
    return error.message;
  }
  return 'taken';
};

/** A GGUF file by hand: a key's value, in bytes. */
const u32 = (...list: number[]) => new Uint8Array(Uint32Array.from(list).buffer);
const u64 = (...list: (number | bigint)[]) => new Uint8Array(BigUint64Array.from(list.map(BigInt)).buffer);
const join = (...parts: Uint8Array[]) => new Uint8Array(parts.flatMap((p) => [...p]));
const text = (s: string) => join(u64(new TextEncoder().encode(s).length), new TextEncoder().encode(s));
const head = (keys: number | bigint, tensors: number | bigint = 0, version = 3) => join(u32(0x46554747, version), u64(tensors, keys));
const one = (type: number, value: Uint8Array) => join(head(1), text('k'), u32(type), value);
const read = async (bytes: Uint8Array) => (await readGguf(memorySource(bytes, 'x.gguf'))).metadata.entries.get('k')?.value;

describe('values of GGUF', () => {
  it.each<[string, number, Uint8Array, unknown]>([
    ['u8', 0, Uint8Array.of(200), 200],
    ['i8', 1, Uint8Array.of(200), -56],
    ['u16', 2, Uint8Array.of(0xff, 0xff), 65_535],
    ['i16', 3, Uint8Array.of(0xfe, 0xff), -2],
    ['u32', 4, u32(4_000_000_000), 4_000_000_000],
    ['i32', 5, u32(0xffffffff), -1],
    ['f32', 6, new Uint8Array(Float32Array.of(1.5).buffer), 1.5],
    ['bool', 7, Uint8Array.of(1), true],
    ['bool', 7, Uint8Array.of(0), false],
    ['string', 8, text('é'), 'é'],
    ['u64', 10, u64(2 ** 53), 2 ** 53],
    ['u64 beyond a double', 10, u64(2n ** 53n + 1n), 2n ** 53n + 1n],
    ['i64', 11, u64(2n ** 64n - 5n), -5],
    ['i64 beyond a double', 11, u64(2n ** 63n), -(2n ** 63n)],
    ['f64', 12, new Uint8Array(Float64Array.of(-0.1).buffer), -0.1],
    ['u8s', 9, join(u32(0), u64(2), Uint8Array.of(1, 255)), Uint8Array.of(1, 255)],
    ['i8s', 9, join(u32(1), u64(2), Uint8Array.of(1, 255)), Int8Array.of(1, -1)],
    ['u16s', 9, join(u32(2), u64(1), Uint8Array.of(1, 2)), Uint16Array.of(513)],
    ['i16s', 9, join(u32(3), u64(1), Uint8Array.of(255, 255)), Int16Array.of(-1)],
    ['u32s', 9, join(u32(4), u64(1), u32(7)), Uint32Array.of(7)],
    ['i32s', 9, join(u32(5), u64(1), u32(0xffffffff)), Int32Array.of(-1)],
    ['f32s', 9, join(u32(6), u64(1), u32(0x3f800000)), Float32Array.of(1)],
    ['bools', 9, join(u32(7), u64(3), Uint8Array.of(1, 0, 1)), [true, false, true]],
    ['strings', 9, join(u32(8), u64(2), text('a'), text('')), ['a', '']],
    ['u64s', 9, join(u32(10), u64(1, 9)), BigUint64Array.of(9n)],
    ['i64s', 9, join(u32(11), u64(1, 2n ** 64n - 9n)), BigInt64Array.of(-9n)],
    ['f64s', 9, join(u32(12), u64(1), new Uint8Array(Float64Array.of(2).buffer)), Float64Array.of(2)],
    ['arrays of arrays', 9, join(u32(9), u64(1), u32(9), u64(1), u32(0), u64(1), Uint8Array.of(3)), [[Uint8Array.of(3)]]],
    ['none', 9, join(u32(6), u64(0)), new Float32Array()],
  ])('%s', async (_, type, bytes, value) => expect(await read(one(type, bytes))).toEqual(value));

  it.each<[string, Uint8Array, RegExp]>([
    ['a boolean of 2', one(7, Uint8Array.of(2)), /key "k": has a boolean of value 2 \(at byte 37\)/],
    ['an unknown type', one(13, u32(0)), /key "k": has the unknown value type 13 \(at byte 33\)/],
    ['an array of an unknown type', one(9, join(u32(13), u64(0))), /array of the unknown type 13 \(at byte 37\)/],
    ['a string that is too long', one(8, u64(2 ** 24 + 1)), /string of 16777217 bytes, more than 16777216/],
    ['a string that ends too soon', one(8, u64(2 ** 24)), /needs 16777216 bytes but the file has 0 more/],
    ['too long an array', one(9, join(u32(0), u64(2 ** 22 + 1))), /array of 4194305 elements, more than 4194304/],
    ['an array beyond the end', one(9, join(u32(4), u64(2), u32(1))), /array of 2 elements that goes beyond the end/],
    ['arrays four deep', one(9, join(u32(9), u64(1), u32(9), u64(1), u32(9), u64(1), u32(9), u64(0))), /nests arrays deeper than 3/],
    [
      'a key twice',
      join(head(2), text('k'), u32(0), Uint8Array.of(1), text('k'), u32(0), Uint8Array.of(1)),
      /key "k": comes twice \(at byte 38\)/,
    ],
    ['a key that is too long', join(head(1), u64(1025)), /metadata key 1 of 1: has a string of 1025 bytes, more than 1024/],
    ['too many keys', head(65_537), /metadata count: is 65537, more than 65536/],
    ['too many tensors', head(0, 65_537), /tensor count: is 65537, more than 65536/],
    ['version 1', head(0, 0, 1), /GGUF version 1 is not known/],
    ['version 4', head(0, 0, 4), /GGUF version 4 is not known/],
    ['no head', head(0).slice(0, 23), /x\.gguf: needs 24 bytes but the file has 23 more/],
  ])('%s is refused, with its place', async (_, bytes, why) => expect(await refusal(readGguf(memorySource(bytes, 'x.gguf')))).toMatch(why));

  it('of version 2 are read as well, and an empty file has none', async () => {
    for (const version of [2, 3]) expect((await readGguf(memorySource(head(0, 0, version)))).tensors.size).toBe(0);
  });
});

describe('tensors of GGUF', () => {
  const tensor = (dims: (number | bigint)[], type = 0, offset: number | bigint = 0, name = 't') =>
    join(text(name), u32(dims.length), u64(...dims), u32(type), u64(offset));
  const file = (info: Uint8Array, data = 0, n = 1) => {
    const start = join(head(0, n), info);
    return join(start, new Uint8Array(((32 - (start.length % 32)) % 32) + data));
  };
  const fails = (info: Uint8Array, data = 0) => refusal(readGguf(memorySource(file(info, data), 'x')));

  it('lie where they say, to the last byte', async () => {
    const got = (await readGguf(memorySource(file(tensor([3, 2]), 24)))).tensors.get('t')!;
    expect(got).toMatchObject({ dims: [3, 2], bytes: 24, type: { name: 'F32' }, offset: 96 });
    expect(await fails(tensor([3, 2]), 23)).toMatch(/tensor "t": ends at 120 but the file ends at 119/);
    expect((await readGguf(memorySource(file(tensor([32, 2], 2), 36)))).tensors.get('t')!.bytes).toBe(36);
    const two = join(tensor([8], 0, 0, 'a'), tensor([8], 0, 32, 'b'));
    expect((await readGguf(memorySource(file(two, 64, 2)))).tensors.get('b')!.offset).toBe(96 + 32);
    const over = join(tensor([9], 0, 0, 'a'), tensor([8], 0, 32, 'b'));
    expect(await refusal(readGguf(memorySource(file(over, 64, 2))))).toMatch(/tensor "b": overlaps tensor "a"/);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['no dimension', tensor([]), /has 0 dimensions, must have 1 to 4/],
    ['five dimensions', tensor([1, 1, 1, 1, 1]), /has 5 dimensions, must have 1 to 4/],
    ['a dimension of 0', tensor([4, 0]), /dimension 1 is 0, must be in 1\.\.2\^40/],
    ['a dimension of 2^40 + 1', tensor([2n ** 40n + 1n]), /dimension 0 is 1099511627777, must be/],
    ['more than 2^40 elements', tensor([2n ** 39n, 4]), /elements, more than 2\^40/],
    ['an unknown type', tensor([4], 4), /has the unknown type 4/],
    ['rows of half blocks', tensor([48, 2], 2), /has rows of 48 elements, no multiple of Q4_0's block of 32/],
    ['an odd offset', tensor([4], 0, 16), /offset 16 is no multiple of 32/],
    ['an offset beyond all', tensor([4], 0, 2n ** 53n), /offset 9007199254740992 is out of range/],
    ['a name that is too long', tensor([4], 0, 0, 'x'.repeat(1025)), /name of tensor 1 of 1: has a string of 1025 bytes/],
  ])('%s is refused', async (_, info, why) => expect(await fails(info, 64)).toMatch(why));

  it('of four dimensions, a block or a byte are taken', async () => {
    for (const info of [tensor([1, 1, 2, 2]), tensor([32], 2), tensor([64], 24), tensor([4], 0, 0, 'x'.repeat(1024))]) {
      expect(await fails(info, 64)).toBe('taken');
    }
  });

  it.each([4, 8, 65_536, 131_072, 24])('an alignment of %i', async (alignment) => {
    const bytes = join(head(1), text('general.alignment'), u32(4), u32(alignment));
    const fine = alignment === 8 || alignment === 65_536;
    expect(await refusal(readGguf(memorySource(bytes)))).toMatch(fine ? /^taken$/ : /general\.alignment": is \d+, must be/);
  });

  it('that are written are read again: heads, types, sizes, gaps', async () => {
    const tensors = [...tensorTypes.values()].map(({ name, block }) => ({ name: `t.${name}`, type: name, dims: [block, 3] }));
    for (const alignment of [32, 64]) {
      const metadata: Record<string, Value> = {
        a: { type: 'bool', value: true },
        b: { type: 'i32', value: -4 },
        c: { type: 'f32s', value: [1.5, -2] },
        'general.alignment': { type: 'u32', value: alignment },
        d: { type: 'u64', value: 2 ** 40 },
        e: { type: 'i32s', value: [-1] },
      };
      const start = ggufHead(metadata, tensors, alignment);
      expect(start.length % alignment).toBe(0);
      const bytes = join(start, ...tensors.flatMap((t) => [new Uint8Array(tensorBytes(t)), padding(tensorBytes(t), alignment)]));
      const got = await readGguf(memorySource(bytes));
      expect([...got.metadata.entries].map(([key, { value }]) => [key, value])).toEqual([
        ...[
          ['a', true],
          ['b', -4],
          ['c', Float32Array.of(1.5, -2)],
          ['general.alignment', alignment],
          ['d', 2 ** 40],
          ['e', Int32Array.of(-1)],
        ],
      ]);
      let offset = start.length;
      for (const t of tensors) {
        expect(got.tensors.get(t.name)).toMatchObject({ offset, bytes: 3 * typeNamed(t.type).bytes, dims: t.dims });
        offset += tensorBytes(t) + padding(tensorBytes(t), alignment).length;
      }
      expect(offset).toBe(bytes.length);
    }
    expect([padding(0).length, padding(32).length, padding(33).length]).toEqual([0, 0, 31]);
    expect(() => typeNamed('Q9')).toThrow('Q9');
  });
});

describe('a configuration of GGUF', () => {
  const config = async (more: Record<string, Value | undefined>, extra: Parameters<typeof writeGguf>[1] = []) => {
    const entries = Object.entries({ ...ggufMetadata(small), ...more }).filter(([, v]) => v !== undefined) as [string, Value][];
    return ggufConfig(await readGguf(memorySource(writeGguf(Object.fromEntries(entries), [...ggufTensors(small), ...extra]), 'x')));
  };
  const u = (value: number): Value => ({ type: 'u32', value });
  const f = (value: number): Value => ({ type: 'f32', value });

  it('takes what is usual where the file says nothing', async () => {
    expect((await config({ 'llama.attention.head_count_kv': undefined })).kvHeads).toBe(small.heads);
    expect((await config({ 'llama.rope.freq_base': undefined })).ropeTheta).toBe(10_000);
    expect((await config({ 'llama.attention.key_length': undefined })).headDim).toBe(small.hidden / small.heads);
    expect((await config({ 'llama.attention.sliding_window': u(0) })).context).toBe(small.context);
    expect((await config({ 'llama.attention.sliding_window': u(small.context - 3) })).context).toBe(small.context - 3);
    expect((await config({ 'llama.expert_count': u(0) })).layers).toBe(small.layers);
  });

  it.each<[Record<string, Value | undefined>, RegExp]>([
    [{ 'llama.expert_count': u(1) }, /expert_count": mixtures of experts/],
    [{ 'llama.block_count': undefined }, /key "llama\.block_count"/],
    [{ 'llama.attention.value_length': u(small.headDim + 1) }, /attention\.value_length": is \d+, must be an integer in 16\.\.16/],
    [{ 'llama.rope.scaling.type': { type: 'string', value: 'yarn' } }, /rope\.scaling\.type": is "yarn"; none, linear/],
    [{ 'llama.rope.scaling.factor': f(-1) }, /rope\.scaling\.factor": is -1, must be a number in 0\.\.10000/],
    [{ 'general.architecture': undefined }, /key "general\.architecture": is missing, must be a string/],
    [{ 'general.architecture': u(1) }, /key "general\.architecture": is 1, must be a string/],
  ])('%j is refused with its key', async (more, why) => expect(await refusal(config(more))).toMatch(why));

  it('scales rotation by one factor, by each frequency’s, or not', async () => {
    const type = (value: string): Value => ({ type: 'string', value });
    const scaling = async (more: Record<string, Value>, extra?: Parameters<typeof config>[1]) => (await config(more, extra)).ropeScaling;
    expect(await scaling({ 'llama.rope.scaling.type': type('linear'), 'llama.rope.scaling.factor': f(4) })).toEqual({
      kind: 'linear',
      factor: 4,
    });
    expect(await scaling({ 'llama.rope.scale_linear': f(2) })).toEqual({ kind: 'linear', factor: 2 });
    for (const none of [
      { 'llama.rope.scaling.type': type('linear'), 'llama.rope.scaling.factor': f(1) },
      { 'llama.rope.scaling.type': type('none'), 'llama.rope.scaling.factor': f(4) },
      { 'llama.rope.scaling.type': type('linear'), 'llama.rope.scaling.factor': f(0) },
    ]) {
      expect(await scaling(none)).toBeUndefined();
    }
    const freqs = (n: number, of = (i: number) => 1 + i, t = 'F32') => [
      {
        name: 'rope_freqs.weight',
        type: t,
        dims: [n],
        data: new Uint8Array((t === 'F32' ? Float32Array.from({ length: n }, (_, i) => of(i)) : new Uint16Array(n)).buffer),
      },
    ];
    expect(
      await scaling(
        {},
        freqs(8, () => 1),
      ),
    ).toBeUndefined();
    expect(
      await scaling(
        {},
        freqs(8, (i) => (i === 7 ? 2 : 1)),
      ),
    ).toEqual({ kind: 'factors', factors: [1, 1, 1, 1, 1, 1, 1, 2] });
    expect(await refusal(config({}, freqs(7)))).toMatch(/rope_freqs\.weight": must be 8 F32 numbers, is 7 F32/);
    expect(
      await refusal(
        config(
          {},
          freqs(8, () => 0, 'F16'),
        ),
      ),
    ).toMatch(/must be 8 F32 numbers, is 8 F16/);
    const both = config({ 'llama.rope.scale_linear': f(2) }, freqs(8));
    expect(await refusal(both)).toMatch(/rope_freqs\.weight": comes together with linear scaling/);
  });

  it('says what a tensor may be', async () => {
    const opened = (change: (t: ReturnType<typeof ggufTensors>[number]) => object) =>
      refusal(
        openGguf(
          memorySource(
            writeGguf(
              ggufMetadata(small),
              ggufTensors(small).map((t) => ({ ...t, ...change(t) })),
            ),
            'a/b/x.GGUF',
          ),
        ),
      );
    const norm = (t: { name: string }, to: object) => (t.name === 'blk.0.attn_norm.weight' ? to : {});
    expect(await opened((t) => norm(t, { type: 'Q8_0', dims: [64], data: new Uint8Array(68) }))).toMatch(
      /is a vector of type Q8_0; F32, F16 and BF16/,
    );
    expect(await opened((t) => norm(t, { dims: [32, 2] }))).toMatch(/blk\.0\.attn_norm\.weight": has dimensions 32 × 2, must have 1/);
    expect(await opened((t) => norm(t, { dims: [64, 1, 1] }))).toBe('taken');
    expect(await opened((t) => norm(t, { type: 'I32' }))).toMatch(/has type I32; F32, .* can be read/);
    expect((await openGguf(memorySource(smallGguf(), 'a/b/x.GGUF'))).name).toBe('x');
  });

  it('gives each value under its key, its bounds kept', async () => {
    const { metadata: m } = await readGguf(
      memorySource(
        join(
          head(5),
          text('i'),
          u32(4),
          u32(7),
          text('s'),
          u32(8),
          text('x'),
          text('b'),
          u32(7),
          Uint8Array.of(1),
          text('l'),
          u32(9),
          u32(8),
          u64(1),
          text('y'),
          text('n'),
          u32(9),
          u32(5),
          u64(2),
          u32(1, 2),
        ),
      ),
    );
    expect([m.int('i', 7, 7), m.number('i', 7, 7), m.int('none', 0, 9, 3), m.number('none', 0, 9, 0.5)]).toEqual([7, 7, 3, 0.5]);
    expect([m.string('s'), m.string('none', 'z'), m.bool('b', false), m.bool('none', true), m.strings('l')]).toEqual([
      'x',
      'z',
      true,
      true,
      ['y'],
    ]);
    expect([m.numbers('n', 2), m.has('n'), m.has('o'), m.offset('none')]).toEqual([Int32Array.of(1, 2), true, false, undefined]);
    const wrong: [() => unknown, string][] = [
      [() => m.int('i', 8, 9), 'key "i": is 7, must be an integer in 8..9 (at byte 24)'],
      [() => m.int('i', 0, 6), 'an integer in 0..6'],
      [() => m.number('i', 7.5, 9), 'a number in 7.5..9'],
      [() => m.number('i', 0, 6.5), 'a number in 0..6.5'],
      [() => m.int('none', 0, 9), 'key "none": is missing, must be an integer'],
      [() => m.int('s', 0, 9), 'is "x", must be an integer'],
      [() => m.string('i'), 'is 7, must be a string'],
      [() => m.bool('i', true), 'is 7, must be a boolean'],
      [() => m.strings('n'), 'is an array of 2, must be an array of strings'],
      [() => m.strings('s'), 'must be an array of strings'],
      [() => m.numbers('n', 3), 'is an array of 2, must be an array of 3 numbers'],
      [() => m.numbers('l', 1), 'must be an array of 1 numbers'],
    ];
    for (const [get, why] of wrong) expect(await refusal(get)).toContain(why);
  });
});

describe('where a pack’s bytes come from', () => {
  const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);
  const all = async (stream: ReadableStream<Uint8Array>) => [...new Uint8Array(await new Response(stream).arrayBuffer())];
  const ranges: [number | undefined, number | undefined][] = [
    [undefined, undefined],
    [0, undefined],
    [0, 1],
    [100, 50],
    [4990, undefined],
    [4990, 10],
    [0, 5000],
  ];
  const cut = (from = 0, n?: number) => [...bytes.subarray(from, n === undefined ? undefined : from + n)];

  it('memory, a bucket and a server give the same ranges; so does a server that knows none', async () => {
    const asked: string[] = [];
    const server = (ranged: boolean) =>
      urlPack(
        'http://h/p',
        async (url, init) => {
          const range = init?.headers?.range;
          asked.push(`${url} ${range} ${init?.headers?.authorization}`);
          if (!range || !ranged) {
            let at = 0;
            const odd = new ReadableStream<Uint8Array>({
              pull: (c) => (at < bytes.length ? c.enqueue(bytes.slice(at, (at += 333))) : c.close()),
            });
            return new Response(odd);
          }
          const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range)!;
          return new Response(bytes.slice(Number(from), to === '' ? undefined : Number(to) + 1), { status: 206 });
        },
        { authorization: 'Bearer k' },
      );
    const bucket = r2Pack(
      {
        get: async (key, options) => {
          const { offset = 0, length } = options?.range ?? {};
          return key === 'a/x' ? { body: new Blob([Uint8Array.from(cut(offset, length))]).stream() } : null;
        },
      },
      'a/',
    );
    for (const source of [memoryPack(new Map([['x', bytes]])), server(true), server(false), bucket]) {
      for (const [from, n] of ranges) expect(await all(await source.open('x', from, n)), `${from} ${n}`).toEqual(cut(from, n));
    }
    expect(asked.slice(0, 4)).toEqual([
      'http://h/p/x undefined Bearer k',
      'http://h/p/x undefined Bearer k',
      'http://h/p/x bytes=0-0 Bearer k',
      'http://h/p/x bytes=100-149 Bearer k',
    ]);
  });

  it('say what is not there, and where', async () => {
    expect(await refusal(memoryPack(new Map()).open('x'))).toBe('file "x": is not in the pack');
    expect(await refusal(r2Pack({ get: async () => null }, 'a/').open('x'))).toBe('file "x": is not in the bucket as a/x');
    expect(await refusal(r2Pack({ get: async () => null }).open('x'))).toBe('file "x": is not in the bucket as x');
    expect(await refusal(urlPack('http://h/p/', async () => new Response('', { status: 404 })).open('x'))).toBe(
      'file "x": http://h/p/x answered 404',
    );
    const ASSETS = { fetch: async () => new Response(null, { status: 404 }) };
    for (const where of [{}, { ASSETS }]) expect(await refusal(deployedPack(where, 'm'))).toMatch(/^model "m": is neither in/);
    const got: string[] = [];
    const found = await deployedPack(
      { ASSETS: { fetch: async (url, init) => new Response(`${got.push(`${init?.method} ${url}`)}`) } },
      'a b/c',
    );
    await found.open('x');
    expect(got).toEqual(['HEAD https://assets.local/packs/a%20b%2Fc/model.json', 'undefined https://assets.local/packs/a%20b%2Fc/x']);
  });

  it('read whole, up to a bound; a reader that leaves lets its stream go', async () => {
    const source = memoryPack(new Map([['x', bytes]]));
    expect([...(await readWhole(source, 'x', 5000))]).toEqual([...bytes]);
    expect(await refusal(readWhole(source, 'x', 4999))).toBe('file "x": is longer than 4999 bytes (at byte 4999)');
    for (const type of [undefined, 'bytes'] as const) {
      let left = 0;
      const endless = new ReadableStream<Uint8Array>({
        type: type as never,
        pull: (c) => void c.enqueue(new Uint8Array(100).fill(7)),
        cancel: () => void left++,
      });
      for await (const piece of chunks(endless)) {
        expect(piece[0]).toBe(7);
        break;
      }
      expect(left).toBe(1);
    }
    const big = new Uint8Array(3 << 20).fill(1);
    let n = 0;
    for await (const piece of chunks(await memoryPack(new Map([['x', big]])).open('x'))) {
      expect(piece.length).toBeLessThanOrEqual(1 << 20);
      n += piece.length;
    }
    expect(n).toBe(big.length);
  });
});

describe('a manifest', () => {
  it('at its bounds is taken', async () => {
    const files = new Map<string, Uint8Array>();
    const report: string[] = [];
    const written = await writePack(
      await openGguf(memorySource(smallGguf(), 'small.gguf')),
      { write: async (name, b) => void files.set(name, b.slice()) },
      {
        format: 'w4',
        name: 'n'.repeat(256),
        chatTemplate: '{{ 1 }}',
        toolCalls: 'hermes',
        onTensor: (t, i, n) => void report.push(`${i}/${n} ${t.name}`),
      },
    );
    expect(report).toEqual(written.manifest.tensors.map((t, i) => `${i}/${written.manifest.tensors.length} ${t.name}`));
    for (const t of written.manifest.tensors) expect(t.offset % 64).toBe(0);
    expect(written.manifest).toMatchObject({ name: 'n'.repeat(256), chatTemplate: '{{ 1 }}', toolCalls: 'hermes' });
    const { manifest } = await openPack(memoryPack(files));
    expect(manifest).toEqual(JSON.parse(JSON.stringify(written.manifest)));
    // biome-ignore lint/suspicious/noExplicitAny: the point is to write wrong things
    const reads = (change: (m: any) => void) => {
      const m = structuredClone(manifest) as never;
      change(m);
      return refusal(() => readManifest(new TextEncoder().encode(JSON.stringify(m))));
    };
    for (const fine of [
      (m: { tokenizer: { name: string } }) => void (m.tokenizer.name = `a${'b'.repeat(127)}`),
      (m: { generation: object }) =>
        void (m.generation = { stopIds: [0, small.vocab - 1], temperature: 0, topP: 1, topK: 0, minP: 0, repetition: 1 }),
      (m: { chatTemplate: null; toolCalls: null }) => void Object.assign(m, { chatTemplate: null, toolCalls: null }),
      (m: { chatTemplate: string }) => void (m.chatTemplate = 'x'.repeat(1 << 20)),
    ]) {
      expect(await reads(fine)).toBe('taken');
    }
    // biome-ignore lint/suspicious/noExplicitAny: the point is to write wrong things
    const wrong: [RegExp, (m: any) => void][] = [
      [/name .*must be at most 256 characters/, (m: { name: string }) => void (m.name += 'n')],
      [
        /chatTemplate .*must be at most 1048576 characters/,
        (m: { chatTemplate: string }) => void (m.chatTemplate = 'x'.repeat((1 << 20) + 1)),
      ],
      [/toolCalls is "none", must be one of/, (m: { toolCalls: string }) => void (m.toolCalls = 'none')],
      [/name is "b+, must be a plain file name/, (m: { tokenizer: { name: string } }) => void (m.tokenizer.name = 'b'.repeat(129))],
      [/name is "\.x", must be a plain file name/, (m: { tokenizer: { name: string } }) => void (m.tokenizer.name = '.x')],
      [/bytes is -1/, (m: { tokenizer: { bytes: number } }) => void (m.tokenizer.bytes = -1)],
      [/stopIds is -1/, (m: { generation: { stopIds: number[] } }) => void (m.generation.stopIds = [-1])],
      [/stopIds is 0\.5/, (m: { generation: { stopIds: number[] } }) => void (m.generation.stopIds = [0.5])],
      [new RegExp(`stopIds is ${small.vocab}`), (m: { generation: { stopIds: number[] } }) => void (m.generation.stopIds = [small.vocab])],
      [/offset must be a multiple of 64 from \d+ on/, (m: { tensors: { offset: number }[] }) => void (m.tensors[1]!.offset = 0)],
      [/two of its files have the same name/, (m: { tokenizer: { name: string } }) => void (m.tokenizer.name = 'model.json')],
    ];
    for (const [why, change] of wrong) expect(await reads(change), String(why)).toMatch(why);
  });

  it('is named by its content: keys in order, lists as they are', () => {
    expect(canonicalJson({ b: [2, { d: 1, c: null }], a: 'x' })).toBe('{"a":"x","b":[2,{"c":null,"d":1}]}');
  });

  it('tells what was lost, by kind, over all values', () => {
    const t = (stored: string, format: 'w4' | 'f32', n: number, error: number): TensorReport => ({
      name: 'x',
      shape: [n, 2],
      stored,
      format,
      bytes: 0,
      error,
    });
    expect(costs([t('F16', 'w4', 10, 0.1), t('F16', 'w4', 30, 0.2), t('F32', 'f32', 5, 0), t('Q8_0', 'w4', 1, 0.01)])).toEqual([
      'F16 → w4, error 18 %',
      'Q8_0 → w4, error 1.0 %',
    ]);
  });
});

describe('a model without a chat template', () => {
  const words = (tags: string[], special = true) => ({
    bos: 0,
    eos: 1,
    bytesOf: (id: number) => new TextEncoder().encode(['<s>', '</s>'][id] ?? ''),
    idOf: (tag: string) => (tags.includes(tag) ? 10 + tags.indexOf(tag) : undefined),
    isSpecial: () => special,
  });
  const messages = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
  ];
  const print = (tags: string[], special = true) => {
    const template = templateOf({}, words(tags, special));
    return template?.render({ messages, addGenerationPrompt: true });
  };

  it('has its vocabulary’s: ChatML’s or Gemma’s, and stops where that does', () => {
    expect(print(['<|im_start|>', '<|im_end|>'])).toBe(
      '<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>assistant\n',
    );
    expect(print(['<start_of_turn>', '<end_of_turn>'])).toBe(
      '<s><start_of_turn>user\na<end_of_turn>\n<start_of_turn>model\nb<end_of_turn>\n<start_of_turn>model\n',
    );
    for (const none of [[], ['<|im_start|>'], ['<|im_end|>']]) expect(print(none)).toBeUndefined();
    expect(print(['<|im_start|>', '<|im_end|>'], false)).toBeUndefined();
    expect(fallbackStops({}, words(['<|im_start|>', '<|im_end|>']))).toEqual([11]);
    expect(fallbackStops({ chatTemplate: 'x' }, words(['<|im_start|>', '<|im_end|>']))).toEqual([]);
    expect(fallbackStops({}, words([]))).toEqual([]);
  });
});
