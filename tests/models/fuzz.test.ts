/** Thousands of damaged files: every one is either read or refused with ModelFileError, soon. */
import { beforeEach, describe, expect, it } from 'vitest';
import { concat } from '../../engine/bytes.ts';
import { philox } from '../../engine/random.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { ModelFileError } from '../../models/error.ts';
import { openGguf } from '../../models/gguf/open.ts';
import { openHf } from '../../models/hf/open.ts';
import { loadModel, type ModelFiles } from '../../models/model.ts';
import { nodeHasher } from '../../models/node/files.ts';
import { loadTokenizer, loadWeights, openPack } from '../../models/pack/load.ts';
import { memoryPack } from '../../models/pack/source.ts';
import { writePack } from '../../models/pack/write.ts';
import { memorySource } from '../../models/source.ts';
import { readTokenizer, writeTokenizer } from '../../models/tokenizer/file.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import { hfFolder, memoryFolder, small, smallGguf } from './small-model.ts';

/** Seeded draws below n. */
function draws(seed: number): (n: number) => number {
  let i = 0;
  return (n) => philox([seed, 3], [i++, 0, 0, 0])[0] % n;
}

const WORDS = [0, 1, 0xff, 0x7f, 0x80, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe, 0x10000];

/** One way or another of damaging a file; most of it within the first `head` bytes, where the structure is. */
function damage(bytes: Uint8Array, head: number, draw: (n: number) => number): Uint8Array {
  const out = bytes.slice();
  const at = () => draw(draw(8) === 0 ? out.length : Math.min(head, out.length));
  switch (draw(7)) {
    case 0: // flip a bit
      out[at()] ^= 1 << draw(8);
      return out;
    case 1: // another byte
      out[at()] = draw(256);
      return out;
    case 2: {
      // an extreme number
      const i = Math.min(at(), out.length - 4);
      new DataView(out.buffer).setUint32(i, WORDS[draw(WORDS.length)], true);
      return out;
    }
    case 3: {
      const i = Math.min(at(), out.length - 8);
      new DataView(out.buffer).setBigUint64(i, BigInt(WORDS[draw(WORDS.length)]) << BigInt(draw(33)), true);
      return out;
    }
    case 4: // cut short
      return out.slice(0, at());
    case 5: {
      // a stretch taken out
      const i = at();
      return concat([out.subarray(0, i), out.subarray(Math.min(out.length, i + 1 + draw(40)))]);
    }
    default: {
      // a stretch copied somewhere else
      const [from, to, n] = [at(), at(), 1 + draw(60)];
      out.copyWithin(to, from, from + n);
      return out;
    }
  }
}

const counts = { read: 0, refused: 0 };

async function survives(what: string, read: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  try {
    await read();
    counts.read++;
  } catch (e) {
    if (!(e instanceof ModelFileError)) throw new Error(`${what} gave ${e}`, { cause: e });
    expect(e.message.length).toBeGreaterThan(10);
    expect(e.where.length).toBeGreaterThan(0);
    counts.refused++;
  }
  expect(performance.now() - start, what).toBeLessThan(10_000);
}

/** Everything a server does with a model that opened. */
async function use(model: ModelFiles): Promise<void> {
  const t = createTokenizer(model.tokenizer);
  t.decode(t.encode("hello <|im_end|> it's 12", { special: true }));
  const { hidden, ffn, vocab, layers } = model.config;
  if (layers * hidden * ffn + vocab * hidden < 1e6) await loadModel(model, createReference(), { format: 'w4', hasher: nodeHasher });
}

const tiny = { ...small, vocab: 264, hidden: 32, heads: 2, kvHeads: 1, ffn: 32, layers: 1 };

describe('damaged files', () => {
  beforeEach(() => {
    counts.read = 0;
    counts.refused = 0;
  });

  it('GGUF: 1,500 of them', { timeout: 300_000 }, async () => {
    const good = smallGguf(tiny);
    const head = good.length - 4 * (2 * 264 * 32);
    const draw = draws(1);
    for (let i = 0; i < 1500; i++) {
      let bytes = damage(good, head, draw);
      if (draw(3) === 0) bytes = damage(bytes, head, draw);
      await survives(`GGUF ${i}`, async () => use(await openGguf(memorySource(bytes, 'x.gguf'))));
    }
    expect(counts.refused).toBeGreaterThan(300);
    expect(counts.read).toBeGreaterThan(100);
  });

  it('Hugging Face folders: 1,500 of them', { timeout: 300_000 }, async () => {
    const good = hfFolder(tiny, 2);
    const draw = draws(2);
    const names = [...good.keys()];
    for (let i = 0; i < 1500; i++) {
      const files = new Map(good);
      const name = names[draw(names.length)];
      const bytes = good.get(name) as Uint8Array;
      files.set(name, damage(bytes, name.endsWith('.safetensors') ? 1200 : bytes.length, draw));
      await survives(`folder ${i} (${name})`, async () => use(await openHf(memoryFolder(files))));
    }
    expect(counts.refused).toBeGreaterThan(300);
    expect(counts.read).toBeGreaterThan(100);
  });

  it('packs: 1,500 of them, hashes checked or not', { timeout: 300_000 }, async () => {
    const good = new Map<string, Uint8Array>();
    const sink = {
      write: async (name: string, bytes: Uint8Array) => {
        good.set(name, bytes.slice());
      },
    };
    await writePack(await openGguf(memorySource(smallGguf(tiny), 'x.gguf')), sink, { format: 'w4' });
    const draw = draws(3);
    const names = [...good.keys()];
    for (let i = 0; i < 1500; i++) {
      const files = new Map(good);
      const name = names[draw(names.length)];
      files.set(name, damage(good.get(name) as Uint8Array, 4096, draw));
      const source = memoryPack(files);
      await survives(`pack ${i} (${name})`, async () => {
        const { manifest } = await openPack(source);
        await loadWeights(source, manifest, createReference(), { verify: draw(2) === 0, hasher: nodeHasher });
        await loadTokenizer(source, manifest);
      });
    }
    expect(counts.refused).toBeGreaterThan(300);
    expect(counts.read).toBeGreaterThan(100);
  });

  it('tokenizer files, past their hash: 3,000 of them', { timeout: 300_000 }, async () => {
    const good = writeTokenizer((await openGguf(memorySource(smallGguf(tiny), 'x.gguf'))).tokenizer);
    const draw = draws(4);
    for (let i = 0; i < 3000; i++) {
      const bytes = damage(good, good.length, draw);
      await survives(`tokenizer ${i}`, async () => {
        const t = createTokenizer(readTokenizer(bytes));
        t.decode(t.encode("hello <|im_end|> it's 12 🦙", { special: true }));
        const s = t.stream();
        for (let id = 0; id < 300; id++) s.push(id);
        s.flush();
      });
    }
    expect(counts.refused).toBeGreaterThan(500);
    expect(counts.read).toBeGreaterThan(100);
  });
});
