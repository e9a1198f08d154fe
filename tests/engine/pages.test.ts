import { sha256 } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_VERSION } from '../../engine/layout.ts';
import { PageNames, PagePool } from '../../engine/pages.ts';

const identity = { pack: 'p', kv: 'i8', numerics: 'exact-1' };
const ids = (n: number, from = 0) => Array.from({ length: n }, (_, i) => from + i);

describe('page names', () => {
  const names = new PageNames(sha256, identity);

  it('name whole pages only, and each depends on all before it', () => {
    expect(names.chain(ids(15), 't')).toHaveLength(0);
    const a = names.chain(ids(48), 't');
    expect(a).toHaveLength(3);
    const b = names.chain([...ids(16), 999, ...ids(31, 17)], 't');
    expect(b[0]).toBe(a[0]);
    expect(b[1]).not.toBe(a[1]);
    expect(b[2]).not.toBe(a[2]);
  });

  it('differ by tenant, pack, KV format and numerics', () => {
    const base = names.chain(ids(16), 't')[0];
    expect(names.chain(ids(16), 'u')[0]).not.toBe(base);
    for (const other of [{ pack: 'q' }, { kv: 'f32' }, { numerics: 'webgpu-1' }]) {
      expect(new PageNames(sha256, { ...identity, ...other }).chain(ids(16), 't')[0]).not.toBe(base);
    }
  });

  it('differ by the version of pages: what an older one stored is missing, not misread', () => {
    expect(new PageNames(sha256, identity, PAGE_VERSION).chain(ids(16), 't')).toEqual(names.chain(ids(16), 't'));
    expect(new PageNames(sha256, identity, PAGE_VERSION - 1).chain(ids(16), 't')).not.toEqual(names.chain(ids(16), 't'));
  });

  it('of pages that are here are read, not hashed again, and are the same', () => {
    const pool = new PagePool(8);
    let hashed = 0;
    const counting = (bytes: Uint8Array) => {
      hashed++;
      return sha256(bytes);
    };
    const knowing = new PageNames(counting, identity, PAGE_VERSION, pool);
    const prompt = ids(64);
    const chain = names.chain(prompt, 't');
    for (const [i, name] of chain.slice(0, 3).entries()) {
      const parent = i === 0 ? names.root('t') : chain[i - 1];
      pool.publish(pool.alloc()!, name, { parent, ids: prompt.slice(16 * i, 16 * i + 16) });
    }
    pool.keep(pool.alloc()!, { parent: chain[2], ids: prompt.slice(48, 60) }); // not whole: of no name
    expect(knowing.chain(prompt, 't')).toEqual(chain);
    expect(hashed).toBe(2); // the root, and the fourth page
    const other = [...ids(31), 999, ...ids(32, 32)];
    expect(knowing.chain(other, 't')).toEqual(names.chain(other, 't')); // as far as one token differs
    expect(knowing.chain(prompt, 'u')).toEqual(names.chain(prompt, 'u')); // another tenant's are not found
    expect(hashed).toBe(2 + 3 + 5);
  });

  it('salts that differ outside ASCII do not collide', () => {
    expect(names.root('\u0141')).not.toBe(names.root('A'));
    expect(names.root('\\u0141')).not.toBe(names.root('\u0141'));
  });
});

describe('page pool', () => {
  it('evicts the least recently used unreferenced page, leaves before roots', () => {
    const pool = new PagePool(3);
    const pages = [pool.alloc()!, pool.alloc()!, pool.alloc()!];
    for (const [i, p] of pages.entries()) pool.publish(p, `n${i}`);
    expect(pool.alloc()).toBeUndefined();
    pool.releaseAll(pages);
    expect(pool.cached).toBe(3);
    pool.alloc();
    expect([pool.has('n0'), pool.has('n1'), pool.has('n2')]).toEqual([true, true, false]);
  });

  it('finds the page that begins as asked, until it is evicted', () => {
    const pool = new PagePool(3);
    const [a, b] = [pool.alloc()!, pool.alloc()!];
    const ids = Array.from({ length: 16 }, (_, i) => i);
    pool.publish(a, 'n0', { parent: 'root', ids });
    pool.keep(b, { parent: 'root', ids: [0, 1, 9] });
    expect(pool.beginning('root', [7, 0, 1, 2, 8], 1, 4)).toEqual({ page: a, tokens: 3 });
    expect(pool.beginning('root', [0, 1, 9, 3], 0, 4)).toEqual({ page: b, tokens: 3 });
    expect(pool.beginning('root', ids, 0, 15)).toEqual({ page: a, tokens: 15 });
    expect(pool.beginning('root', [4], 0, 1)).toBeUndefined();
    expect(pool.beginning('n0', ids, 0, 15)).toBeUndefined();
    pool.releaseAll([a, b]);
    pool.alloc();
    expect(pool.alloc()).toBe(b); // the least recently used
    expect(pool.beginning('root', [0, 1, 9, 3], 0, 4)).toEqual({ page: a, tokens: 2 });
  });

  it('never finds a page that was given out anew under what it held before', () => {
    const pool = new PagePool(1);
    const ids = Array.from({ length: 16 }, (_, i) => i);
    const p = pool.alloc()!;
    pool.publish(p, 'mine', { parent: 'my root', ids });
    pool.release(p);
    expect(pool.alloc()).toBe(p); // evicted for another tenant
    pool.publish(p, 'yours', { parent: 'your root', ids });
    expect(pool.beginning('my root', ids, 0, 15)).toBeUndefined();
    expect(pool.take('mine')).toBeUndefined();
    expect(pool.beginning('your root', ids, 0, 15)).toEqual({ page: p, tokens: 15 });
  });

  it('keeps its counts under any sequence of operations', () => {
    const op = fc.oneof(
      fc.record({ do: fc.constant('alloc' as const) }),
      fc.record({ do: fc.constant('publish' as const), at: fc.nat(), name: fc.nat(12) }),
      fc.record({ do: fc.constant('take' as const), name: fc.nat(12) }),
      fc.record({ do: fc.constant('release' as const), at: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(op, { maxLength: 200 }), (ops) => {
        const pool = new PagePool(8);
        const held: number[] = [];
        const names = new Map<number, string>(); // of held pages
        for (const o of ops) {
          if (o.do === 'alloc') {
            const p = pool.alloc();
            expect(p === undefined).toBe(new Set(held).size === 8);
            if (p !== undefined) {
              expect(held).not.toContain(p); // never handed out twice
              names.delete(p);
              held.push(p);
            }
          } else if (o.do === 'publish' && held.length > 0) {
            const p = held[o.at % held.length];
            const name = `n${o.name}`;
            if (!names.has(p) && !pool.has(name)) names.set(p, name);
            pool.publish(p, name);
          } else if (o.do === 'take') {
            const p = pool.take(`n${o.name}`);
            if (p !== undefined) {
              held.push(p);
              names.set(p, `n${o.name}`);
            }
          } else if (o.do === 'release' && held.length > 0) pool.release(held.splice(o.at % held.length, 1)[0]);
          expect(pool.referenced).toBe(new Set(held).size);
          for (const p of held) {
            if (!names.has(p)) continue;
            expect(pool.take(names.get(p)!)).toBe(p);
            pool.release(p);
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
