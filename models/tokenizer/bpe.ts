import { mergeAll } from './merge.ts';
import type { TokenizerSpec } from './spec.ts';
import type { Vocabulary } from './vocabulary.ts';

/** Turns the bytes [0, n) of a piece of text into ids, appended to `out`. */
export type PieceEncoder = (bytes: Uint8Array, n: number, out: number[]) => void;

/** Byte-pair encoding by ranked merges, over bytes or over characters with byte fallback. */
export function bpeEncoder(spec: TokenizerSpec, vocabulary: Vocabulary): PieceEncoder {
  const { ignoreMerges, kind, unknown } = spec.rules;
  const merges = spec.merges ?? new Uint32Array(0);
  const rankOf = pairTable(merges);
  const { byteIds } = vocabulary;
  let ids = new Int32Array(64);
  let next = new Int32Array(64);
  const rank = (i: number, j: number) => rankOf(ids[i], ids[j]);
  const join = (i: number, j: number) => {
    ids[i] = merges[rankOf(ids[i], ids[j]) * 3 + 2];
  };

  return (bytes, n, out) => {
    if (ignoreMerges || n === 1) {
      const whole = vocabulary.find(bytes, 0, n);
      if (whole >= 0) {
        out.push(whole);
        return;
      }
    }
    // Scratch for words; a long piece gets arrays of its own that go with it.
    if (n > ids.length || ids.length > 4096) {
      ids = new Int32Array(Math.max(n, 64));
      next = new Int32Array(ids.length);
    }
    let count = 0;
    for (let i = 0; i < n; ) {
      const size = kind === 'bpe-bytes' ? 1 : charLength(bytes[i]);
      const id = kind === 'bpe-bytes' ? byteIds[bytes[i]] : vocabulary.find(bytes, i, Math.min(n, i + size));
      if (id >= 0) ids[count++] = id;
      else for (let b = i; b < Math.min(n, i + size); b++) ids[count++] = byteIds[bytes[b]];
      i += size;
    }
    mergeAll(count, next, rank, join);
    let afterUnknown = false; // a run of unknown bytes gives one unknown token
    for (let i = count > 0 ? 0 : -1; i >= 0; i = next[i]) {
      if (ids[i] >= 0) out.push(ids[i]);
      else if (!afterUnknown && unknown !== undefined) out.push(unknown);
      afterUnknown = ids[i] < 0;
    }
  };
}

/** Bytes of the UTF-8 character that starts with this byte. */
export const charLength = (lead: number): number => (lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4);

/** Rank of the pair (left, right) of the merges [M, 3], -1 when they do not merge: an open hash of ranks. */
function pairTable(merges: Uint32Array): (left: number, right: number) => number {
  const count = merges.length / 3;
  let size = 1024;
  while (size < count * 2) size *= 2;
  const mask = size - 1;
  const slots = new Int32Array(size); // rank + 1, 0 is free
  const start = (left: number, right: number) => {
    const h = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca77);
    return (h ^ (h >>> 15)) & mask;
  };
  const find = (left: number, right: number) => {
    let slot = start(left, right);
    for (let v = slots[slot]; v !== 0; v = slots[slot]) {
      const at = (v - 1) * 3;
      if (merges[at] === left && merges[at + 1] === right) return v - 1;
      slot = (slot + 1) & mask;
    }
    return -1;
  };
  for (let rank = 0; rank < count; rank++) {
    const [left, right] = [merges[rank * 3], merges[rank * 3 + 1]];
    if (find(left, right) >= 0) continue;
    let slot = start(left, right);
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = rank + 1;
  }
  return find;
}
