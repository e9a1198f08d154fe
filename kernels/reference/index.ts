/**
 * The plain implementation of the contract, one file an op: the specification of exact-1, to be read beside NUMERICS.md.
 * Every other backend is compared with it. It is slow.
 */
import type { Act, Backend, Buf, KvPool } from '../../engine/backend.ts';
import { pageBytes } from '../../engine/layout.ts';
import { attention } from './attention.ts';
import { actBytes, RefBuf, u8 } from './buffers.ts';
import { embed } from './embed.ts';
import { glu } from './glu.ts';
import { editLogits, topk } from './logits.ts';
import { addLowRank } from './low-rank.ts';
import { matmul } from './matmul.ts';
import { addNorm, norm } from './norm.ts';
import { ropeStore } from './rope-store.ts';
import { shortConv } from './short-conv.ts';

export interface ReferenceOptions {
  /** Refuses allocations beyond this sum. Default: no limit. */
  memoryBytes?: number;
}

export function createReference(opts: ReferenceOptions = {}): Backend {
  const limit = opts.memoryBytes ?? Infinity;
  let used = 0;

  function alloc(bytes: number, label: string): RefBuf {
    if (used + bytes > limit) {
      throw new Error(`reference: ${label} needs ${bytes} bytes, ${used} of ${limit} are taken; give memoryBytes at least ${used + bytes}`);
    }
    used += bytes;
    return new RefBuf(label, bytes);
  }

  function bounds(buf: Buf, offset: number, bytes: number): void {
    if (offset < 0 || offset + bytes > buf.bytes) throw new Error(`${buf.label}: ${offset} + ${bytes} is outside its ${buf.bytes} bytes`);
  }

  return {
    name: 'reference',
    numerics: 'exact-1',

    alloc,
    act: (format, rows, K, label): Act => ({ format, rows, K, data: alloc(actBytes(format, rows, K), label) }),
    kvPool: (shape, pages): KvPool => ({ shape, pages, pageBytes: pageBytes(shape), data: alloc(pages * pageBytes(shape), 'kv pages') }),

    embed,
    norm,
    matmul,
    addLowRank,
    ropeStore,
    attention,
    shortConv,
    glu,
    addNorm,
    editLogits,
    topk,
    copyPages(kv, pairs) {
      const bytes = u8(kv.data);
      for (let i = 0; i < pairs.length; i += 2) {
        bytes.copyWithin(pairs[i + 1] * kv.pageBytes, pairs[i] * kv.pageBytes, (pairs[i] + 1) * kv.pageBytes);
      }
    },

    write(buf, bytes, offset = 0) {
      bounds(buf, offset, bytes.length);
      u8(buf).set(bytes, offset);
    },
    async submit() {},
    async read(buf, offset, bytes) {
      bounds(buf, offset, bytes);
      return u8(buf).slice(offset, offset + bytes);
    },
    dispose() {
      used = Infinity;
    },
  };
}
